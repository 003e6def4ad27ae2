"""Trains a byte-level BPE tokenizer in CLIP's own format on the captions; writes vocab.json and merges.txt.

The shipped models go on with the tokenizer they began with: icons added to the packages since would give other tokens.
Only `--new` trains another one, for models that start from nothing.
"""

import argparse
import json
import random
import shutil

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from world import CLASS_TEMPLATES, HERE, NAMES, World, with_article, work_folder

# Everyday words that captions of this world lack, so that ordinary prompts do not fall apart into bytes.
WORDS = """about above across after again against all along also always among and animal another any are around art away back
beautiful because before behind below beside best better between big bird black blue book both box boy bright brown but by can
chair child children city clear close cloud cold color colour cute dark day deep detailed digital different dress drawing dream each
early earth easy empty evening every eye face fast field fine fire first floor flower flying food forest four fresh friend from front
full fun funny garden girl glass gold golden good grass gray great green grey ground hand happy hard has hat have he head high
highly hill his hold home horse hot house human ice in inside into is it its kind king lake lamp land large left leaf light like
line lion little long look lovely made magic make man many map masterpiece medium minimal modern moon more morning most mountain
mouth much music nature near new next nice night no nose not ocean of off oil old on one only open or orange other our out
outside over painting paper park people person photo photograph piece pink plain plant play portrait pretty purple quality quiet
rain realistic red render right river road rock roof room round sand scene sea shadow shape sharp she ship shiny shop short side
silver simple sit sky sleep slow small smile smooth snow soft some sound space spring square stand stone street strong style
summer sun sunny sweet table tall teal than that the their them then there these they thing this three through time tiny to top
town toy tree two under up very view village wall warm was water watercolor wave way we wet what when where which white who wild wind
window winter with woman wood wooden word world year yellow yes you young your""".split()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    work_folder(parser)
    parser.add_argument("--new", action="store_true", help="train one, even if there are shipped models to go on with")
    args = parser.parse_args()
    folder, shipped = args.work / "tokenizer", HERE.parent / "diffusion/tokenizer"
    if (folder / "vocab.json").exists():
        print("the work folder's tokenizer is kept")
        return
    if shipped.exists() and not args.new:
        shutil.copytree(shipped, folder)
        print("the shipped tokenizer is kept")
        return
    r, world = random.Random(0), World(args.work, 32)
    texts = [world.scene(r).caption for _ in range(20000)] + WORDS * 8
    texts += [template.format(name) for template in CLASS_TEMPLATES for name in NAMES] + [with_article(n) for n in NAMES] * 4
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=2400, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in merges]
    vocabulary = {}
    for token in alphabet + [a + "</w>" for a in alphabet] + [a + b for a, b in merges] + ["<|startoftext|>", "<|endoftext|>"]:
        vocabulary.setdefault(token, len(vocabulary))
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in merges) + "\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    print(len(vocabulary), "tokens")


if __name__ == "__main__":
    main()

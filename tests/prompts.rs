//! The prompt language against the published cases of the programs whose prompts it reads, and as its users meet it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;

use maquette::prompt::dialect::{self, Dialect};
use maquette::prompt::emphasis;
use maquette::prompt::expand::wildcards::Wildcards;
use maquette::prompt::expand::{Expansion, Method, Wanted, expand, expand_traced};
use maquette::prompt::highlight::highlight;
use maquette::prompt::schedule::{Schedule, Timing};
use maquette::prompt::source::Traced;
use maquette::prompt::stages::Stages;
use maquette::prompt::tree::{Item, Tree};
use proptest::prelude::*;
use serde_json::Value;

fn weights(text: &str) -> Vec<(String, f64)> {
    emphasis::parse(text).0.into_iter().map(|fragment| (fragment.text, fragment.weight)).collect()
}

fn pairs(wanted: &[(&str, f64)]) -> Vec<(String, f64)> {
    wanted.iter().map(|(text, weight)| ((*text).to_owned(), *weight)).collect()
}

/// The six cases of `parse_prompt_attention`'s documentation, to the last bit.
#[test]
fn a1111_attention() {
    assert_eq!(weights("normal text"), pairs(&[("normal text", 1.0)]));
    assert_eq!(weights("an (important) word"), pairs(&[("an ", 1.0), ("important", 1.1), (" word", 1.0)]));
    assert_eq!(weights("(unbalanced"), pairs(&[("unbalanced", 1.1)]));
    assert_eq!(weights(r"\(literal\]"), pairs(&[("(literal]", 1.0)]));
    assert_eq!(weights("(unnecessary)(parens)"), pairs(&[("unnecessaryparens", 1.1)]));
    let wanted = [
        ("a ", 1.0),
        ("house", 1.5730000000000004),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641000000000006),
        (".", 1.1),
    ];
    assert_eq!(weights("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))."), pairs(&wanted));
}

fn schedule(text: &str, timing: Timing) -> Vec<(u32, String)> {
    let schedule = Schedule::new(&Traced::new(text), timing, &mut Vec::new());
    schedule.boundaries().iter().map(|step| (*step, schedule.at(*step).text().to_owned())).collect()
}

/// The sixteen cases of `get_learned_conditioning_prompt_schedules`' documentation.
#[test]
fn a1111_schedules() {
    let check = |text: &str, wanted: &[(u32, &str)]| {
        let wanted: Vec<(u32, String)> = wanted.iter().map(|(step, text)| (*step, (*text).to_owned())).collect();
        assert_eq!(schedule(text, Timing::of_steps(10)), wanted, "{text:?}");
    };
    check("test", &[(10, "test")]);
    check("a [b:3]", &[(3, "a "), (10, "a b")]);
    check("a [b: 3]", &[(3, "a "), (10, "a b")]);
    check("a [[[b]]:2]", &[(2, "a "), (10, "a [[b]]")]);
    check("[(a:2):3]", &[(3, ""), (10, "(a:2)")]);
    check("a [b : c : 1] d", &[(1, "a b  d"), (10, "a  c  d")]);
    check("a[b:[c:d:2]:1]e", &[(1, "abe"), (2, "ace"), (10, "ade")]);
    check("a [unbalanced", &[(10, "a [unbalanced")]);
    check("a [b:.5] c", &[(5, "a  c"), (10, "a b c")]);
    check("a [{b|d{:.5] c", &[(5, "a  c"), (10, "a {b|d{ c")]);
    check("((a][:b:c [d:3]", &[(3, "((a][:b:c "), (10, "((a][:b:c d")]);
    let in_turn = |texts: &[&'static str]| (1..=10).zip(texts.iter().copied().cycle()).collect::<Vec<(u32, &str)>>();
    check("[a|(b:1.1)]", &in_turn(&["a", "(b:1.1)"]));
    check("[fe|]male", &in_turn(&["female", "male"]));
    check("[fe|||]male", &in_turn(&["female", "male", "male", "male"]));
    let second_pass = Timing { first_pass: Some(10), ..Timing::of_steps(10) };
    assert_eq!(schedule("a [b:.5] c", second_pass), [(10, "a b c".to_owned())]);
    assert_eq!(schedule("a [b:1.5] c", second_pass), [(5, "a  c".to_owned()), (10, "a b c".to_owned())]);
}

#[test]
fn spans_are_those_of_the_source_through_every_stage() {
    let text = "é [red:(blue:1.2):0.5] fox # note\n<lora:ink:0.7>, sea AND a (dog):0.5";
    let (stretches, _) = Stages::new(text, 10).schedule();
    assert_eq!(stretches.iter().map(|stretch| stretch.until_step).collect::<Vec<_>>(), [5, 10]);
    for stretch in &stretches {
        for fragment in stretch.parts.iter().flat_map(|part| &part.fragments) {
            let source = text.get(fragment.span.clone()).unwrap();
            let (first, last) =
                (fragment.text.trim().split(' ').next().unwrap(), fragment.text.trim().split(' ').next_back().unwrap());
            assert!(source.contains(first) && source.contains(last), "{fragment:?} is not {source:?}");
        }
    }
    let blue = stretches[1].parts[0].fragments.iter().find(|fragment| fragment.text == "blue").unwrap();
    assert_eq!((&text[blue.span.clone()], blue.weight), ("blue", 1.2));
    assert_eq!(stretches[1].parts[1].weight, 0.5);
}

#[test]
fn spans_are_those_of_the_source_after_expansion() {
    let text = "${v=(é:1.3)}a (__w__:0.5) {fox|fox} ${v} [{dusk|dusk}:dawn:4]";
    let wanted = Wanted { method: Method::Random, seed: 3, count: 1 };
    let (wildcards, _) = Wildcards::parse([("w.txt", "big [red]")]);
    let (prompts, _) = expand_traced(&Traced::new(text), &wildcards, wanted);
    let (stretches, _) = Stages::of(&prompts[0], Timing::of_steps(10)).schedule();
    let fragments = |at: usize| {
        let fragments = stretches[at].parts[0].fragments.iter();
        fragments.map(|one| (one.text.as_str(), &text[one.span.clone()])).collect::<Vec<_>>()
    };
    let same = [("a ", "a "), ("big ", "__w__"), ("red", "__w__"), (" fox ", " {fox|fox} "), ("é", "${v}")];
    assert_eq!(fragments(0), [&same[..4], &[same[4], (" dusk", " [{dusk")]].concat()[..]);
    assert_eq!(fragments(1)[5], (" dawn", " [{dusk|dusk}:dawn"));
}

#[test]
fn expansion_takes_linear_time() {
    let cost = |count: usize| {
        let text = "a {red|blue|green} ${v=x} ${v} __w__, ".repeat(count);
        let wanted = Wanted { method: Method::Random, seed: 3, count: 1 };
        let (prompts, _) = expand_traced(&Traced::new(&text), &wildcards(), wanted);
        prompts[0].runs().count()
    };
    assert!(cost(2000) <= 10 * cost(200) + 10);
}

fn wildcards() -> Wildcards {
    Wildcards::parse([
        ("animal.txt", "__animals/${genus:*}/*__"),
        ("animals/mammals/canine.txt", "dog\nwolf"),
        ("animals/mammals/feline.txt", "cat\ntiger"),
        ("animals/reptiles/lizards.yaml", "- iguana\n- gecko"),
        ("animals/reptiles/snakes.txt", "python\ncobra"),
        ("all.txt", "__mammals/canine__\n__mammals/feline__"),
        (
            "cars.yaml",
            "cars:\n  porsche: {name: [Porsche], types: [sports car]}\n  deere: {name: [John Deere], types: [tractor]}",
        ),
        ("colors-cold.txt", "# comment\nblue\ngreen"),
        ("colors-warm.txt", "red\nyellow"),
        ("plush.yaml", "plush: 'a ${animal} plush toy'"),
        ("referencing-colors.txt", "__colors-warm__\n__colors-cold__"),
        ("self.txt", "__self__ __self__"),
        ("w.txt", "(é:1.2) {a|${v:b}}\n猫 [x:y:3]"),
        ("variant.txt", "{red|pink}\ngreen\nblue"),
        ("wrappers.txt", "Art Deco, ..., sleek\nPop Art, ....., vivid"),
    ])
    .0
}

fn draw(template: &str, method: Method, count: usize) -> Expansion {
    expand(template, &wildcards(), Wanted { method, seed: 1, count })
}

fn all(template: &str) -> Vec<String> {
    draw(template, Method::Combinatorial, 1000).prompts
}

fn check_all(template: &str, wanted: &[&str]) {
    assert_eq!(all(template), wanted, "{template:?}");
}

#[test]
fn dynamicprompts_variants_in_all_combinations() {
    check_all("", &[]);
    check_all("A literal sentence", &["A literal sentence"]);
    check_all("Test [low emphasis:0.4] (high:0.4) }", &["Test [low emphasis:0.4] (high:0.4) }"]);
    check_all("A red {square|circle}", &["A red square", "A red circle"]);
    check_all("A {red|blue|} rose", &["A red rose", "A blue rose", "A  rose"]);
    check_all("{red|green} {a|b}", &["red a", "red b", "green a", "green b"]);
    check_all("{2$$cat|dog|bird}", &["cat,dog", "cat,bird", "dog,cat", "dog,bird", "bird,cat", "bird,dog"]);
    check_all("{1-2$$ and $$a|b}", &["a", "b", "a and b", "b and a"]);
    check_all("{0-1$$a|b|c|d}", &["", "a", "b", "c", "d"]);
    check_all("{-2$$a|b}", &["a", "b", "a,b", "b,a"]);
    check_all("{3$$square|circle}", &["square,circle", "circle,square"]);
    check_all("{2$$|$$a|b}", &["a|b", "b|a"]);
    check_all("{2$$a|a|b}", &["a,b", "b,a"]);
    check_all("{3::a|0.5::b}", &["a", "b"]);
    check_all("{ a | b }", &["a ", "b "]);
    check_all("{a|{b|c}} {2$$x|{y|x}}", &["a x,y", "a y,x", "b x,y", "b y,x", "c x,y", "c y,x"]);
    check_all("{|hot,}{|summer,}", &["", "summer,", "hot,", "hot,summer,"]);
    check_all("[cat|dog] [cat:dog:0.25]", &["[cat|dog] [cat:dog:0.25]"]);
    check_all("prefix,\n({0$$a|b} {1$$c|d}),", &["prefix,\n( c),", "prefix,\n( d),"]);
}

#[test]
fn dynamicprompts_wildcards() {
    check_all("__colors-*__", &["blue", "green", "red", "yellow"]);
    check_all("{2$$__colors-cold__}", &["blue,green", "green,blue"]);
    check_all("{2$$__colors-cold__|black}", &["blue,black", "green,black", "black,blue", "black,green"]);
    check_all("__referencing-colors__", &["blue", "green", "red", "yellow"]);
    check_all("__variant__", &["blue", "green", "red", "pink"]);
    check_all("__all__", &["dog", "wolf", "cat", "tiger"]);
    check_all("__animal(genus=mammals)__", &["cat", "dog", "tiger", "wolf"]);
    check_all("${genus=reptiles}__animals/${genus}/*__", &["cobra", "gecko", "iguana", "python"]);
    check_all("wearing __colors-${temp:cold}__", &["wearing blue", "wearing green"]);
    check_all("(__colors-cold__:2.3) ", &["(blue:2.3) ", "(green:2.3) "]);
    check_all("__plush(animal=fox)__", &["a fox plush toy"]);
    check_all("${animal={fox|cow}}__plush__", &["a fox plush toy", "a cow plush toy"]);
    // A parameter's value may be a wildcard, with parameters of its own.
    check_all("__plush(animal=__colors-cold__)__", &["a blue plush toy", "a green plush toy"]);
    let nested = "__plush(animal=__plush(animal=__colors-cold__, size=(b, c))__, size=x)__ (d)";
    check_all(nested, &["a a blue plush toy plush toy (d)", "a a green plush toy plush toy (d)"]);
    check_all("{2$$ 그리고 $$고양이|개}", &["고양이 그리고 개", "개 그리고 고양이"]);
    check_all("${car=!{porsche|deere}}a __cars/${car}/types__ by __cars/${car}/name__", &["a sports car by Porsche"]);
    let unknown = draw("a __nope__ b", Method::Combinatorial, 5);
    assert_eq!(unknown.prompts, ["a __nope__ b"]);
    assert_eq!((unknown.diagnostics[0].code, unknown.diagnostics[0].span.clone()), ("unknown-wildcard", 2..10));
    assert_eq!(draw("__../colors-cold__", Method::Random, 1).prompts, ["__../colors-cold__"]);
}

#[test]
fn dynamicprompts_variables_wraps_and_comments() {
    check_all("${animal=cat}the animal is ${animal:dog}", &["the animal is cat"]);
    check_all("the animal is ${animal:dog}", &["the animal is dog"]);
    check_all("${a ?=! cat}${a}", &["cat"]);
    check_all("${c={a|b}}${c} ${c}", &["a a", "a b", "b a", "b b"]);
    check_all("${c=!{a|b}}${c} ${c}", &["a a"]);
    check_all("${c=1}${c?=2}${c}", &["1"]);
    check_all("%{happy ... on a meadow$${fox|cow}}", &["happy fox on a meadow", "happy cow on a meadow"]);
    check_all("%{happy …$$fox}", &["happy fox"]);
    check_all("%{happy $$fox}", &["happy fox"]);
    check_all(
        "%{__wrappers__$${fox|cow}}",
        &["Art Deco, fox, sleek", "Art Deco, cow, sleek", "Pop Art, fox, vivid", "Pop Art, cow, vivid"],
    );
    check_all("{\n # 60% A\n 0.6::A\n | # {\n B}", &["A\n ", "B"]);
    check_all("{a|b} // c\n d", &["a\n d", "b\n d"]);
}

#[test]
fn dynamicprompts_samplers() {
    check_all("A {@red|green} {ball|car}", &["A red ball", "A green car"]);
    check_all("A {red|green} {@ball|car}", &["A red ball", "A green car"]);
    check_all("A {red|{@green|blue}} {@ball|car}", &["A red ball", "A green car"]);
    check_all("{test1|test2} __@colors-cold__", &["test1 blue", "test2 green"]);
    assert_eq!(draw("{@a|b}", Method::Combinatorial, 3).prompts, ["a", "b", "a"]);
    let colors = "A {red|blue|green|yellow} {@ball|{!car|bike}}";
    check_all(colors, &["A red ball", "A blue car", "A green ball", "A yellow bike"]);
    let cycle = |template: &str, count| draw(template, Method::Cyclical, count).prompts;
    assert_eq!(cycle("{one|two|three}", 5), ["one", "two", "three", "one", "two"]);
    assert_eq!(
        cycle("{red|green|blue} {square|circle}", 4),
        ["red square", "green circle", "blue square", "red circle"]
    );
    assert_eq!(cycle("{2$$__colors-cold__|black}", 3), ["blue,black", "black,blue", "green,black"]);
    assert_eq!(cycle("__variant__", 6), ["blue", "green", "red", "blue", "green", "pink"]);
    assert_eq!(cycle("__referencing-colors__", 5), ["blue", "red", "green", "yellow", "blue"]);
}

#[test]
fn random_prompts_come_from_the_combinations_and_repeat_with_their_seed() {
    for template in
        ["{2$$__colors-cold__}", "{1$$A|B|{2$$ and $$X|Y|Z}}", "__animal__", "{0-2$$a|b} {3::x|y}", "{~a|b}{!c|d}"]
    {
        let possible = all(&template.replace(['~', '!'], ""));
        let drawn = draw(template, Method::Random, 30);
        assert_eq!(drawn.prompts.len(), 30);
        assert!(drawn.prompts.iter().all(|prompt| possible.contains(prompt)), "{template}: {:?}", drawn.prompts);
        assert_eq!(drawn, draw(template, Method::Random, 30));
    }
    let heavy = draw("{99::a|1::b}", Method::Random, 200).prompts;
    assert!(heavy.iter().filter(|prompt| *prompt == "a").count() > 180);
    let once = draw("${n=!{1|2|3|4|5}}${n}", Method::Random, 40).prompts;
    assert!(once.iter().all(|prompt| *prompt == once[0]));
}

#[test]
fn expansion_always_ends_and_says_why() {
    let codes = |template: &str, method| {
        draw(template, method, 10).diagnostics.into_iter().map(|remark| remark.code).collect::<Vec<_>>()
    };
    for method in [Method::Random, Method::Combinatorial, Method::Cyclical] {
        assert!(codes("__self__", method).iter().any(|code| ["endless-wildcard", "too-much"].contains(code)));
        assert_eq!(codes("${a=${b}}${b=${a}}${a}", method), ["endless-variable"]);
    }
    assert_eq!(codes("${a}", Method::Random), ["unknown-variable"]);
    assert_eq!(codes("a {b", Method::Random), ["unclosed-bracket"]);
    assert_eq!(all(&"{a|b}".repeat(100)).len(), 1000);
    assert_eq!(all(&"{".repeat(1_000_000)).len(), 1);
    assert_eq!(all(&format!("{}x{}", "{".repeat(100_000), "}".repeat(100_000))).len(), 1);
    assert_eq!(draw(&"__".repeat(200_000), Method::Random, 1).prompts.len(), 1);
}

fn explained(dialect: Dialect, text: &str, step: u32) -> Vec<(String, f64)> {
    let schedule = dialect::explain(dialect, text, 10).schedule;
    let stretch = schedule.into_iter().find(|stretch| step <= stretch.until_step).unwrap();
    let fragments = stretch.parts.into_iter().flat_map(|part| part.fragments);
    fragments.map(|fragment| (fragment.text, (fragment.weight * 1e6).round() / 1e6)).collect()
}

#[test]
fn each_dialect_is_read() {
    let check = |dialect, text: &str, wanted: &[(&str, f64)]| {
        assert_eq!(explained(dialect, text, 1), pairs(wanted), "{text:?}")
    };
    // A number replaces what is outside of it, where A1111 multiplies.
    check(Dialect::Comfy, "a ((b:1.2)) (c (d:0.5))", &[("a ", 1.0), ("b", 1.2), (" ", 1.0), ("c ", 1.1), ("d", 0.5)]);
    check(Dialect::A1111, "((b:1.2))", &[("b", 1.32)]);
    check(Dialect::Comfy, r"\(a\) [b] (c", &[("(a) [b] (c", 1.0)]);
    check(Dialect::Compel, "a cat++ on (a mat)1.3", &[("a ", 1.0), ("cat ", 1.21), ("on ", 1.0), ("a mat", 1.3)]);
    check(
        Dialect::Compel,
        "well-known (a (big)+ dog-)1.2",
        &[("well-known ", 1.0), ("a ", 1.2), ("big ", 1.32), ("dog", 1.08)],
    );
    check(Dialect::Compel, "(\"a+\", \"b\").and()", &[("a", 1.1), ("BREAK", -1.0), ("b", 1.0)]);
    check(
        Dialect::NovelAi,
        "{{a}} [b] 1.3::c:: d",
        &[("a", 1.1025), (" ", 1.0), ("b", 0.952381), (" ", 1.0), ("c", 1.3), (" d", 1.0)],
    );
    let swarm = "(a:1.2) <alternate:cat, dog><break><fromto[0.5]:x||y> <embed:z><comment:no>";
    check(Dialect::Swarm, swarm, &[("a", 1.2), (" cat", 1.0), ("BREAK", -1.0), ("x embedding:z", 1.0)]);
    assert_eq!(
        explained(Dialect::Swarm, swarm, 10),
        pairs(&[("a", 1.2), (" dog", 1.0), ("BREAK", -1.0), ("y embedding:z", 1.0)])
    );
}

#[test]
fn prompts_keep_their_meaning_in_other_dialects() {
    let check = |from, to, text: &str, wanted: &str| {
        let (written, remarks) = dialect::convert(from, to, text);
        assert_eq!(written, wanted, "{text:?}: {remarks:?}");
        let lost = remarks.iter().filter(|remark| remark.code == "not-in-dialect").count();
        assert_eq!(lost, 0, "{remarks:?}");
    };
    use Dialect::{A1111, Comfy, Compel, NovelAi, Swarm};
    check(
        A1111,
        Comfy,
        "a ((big)) [red] (cat:1.3), (b (c:1.5):1.2)",
        "a (big:1.21) (red:0.9091) (cat:1.3), (b :1.2)(c:1.8)",
    );
    check(Comfy, A1111, "((a:1.2)) [b]", r"(a:1.2) \[b\]");
    check(A1111, Compel, "a (cat), (red fox:1.3)", "a (cat)+, (red fox)1.3");
    check(Compel, A1111, "a cat++ (red fox)0.5", "a (cat :1.21)(red fox:0.5)");
    check(A1111, NovelAi, "a (cat:1.3) dog", "a 1.3::cat:: dog");
    check(NovelAi, A1111, "{a} [[b]]", "(a:1.05) (b:0.907)");
    check(
        A1111,
        Swarm,
        "[cat|dog] [a:b:0.5] BREAK c <lora:ink:0.5:0.8>",
        "<alternate:cat||dog> <fromto[0.5]:a||b><break>c <lora:ink:0.8:0.5>",
    );
    check(Swarm, A1111, "<alt:cat,dog> <fromto[3]:a,b> <embed:z>", "[cat|dog] [a:b:3] z");
    check(Compel, A1111, "(\"a\", \"(b)+\").and()", "a BREAK (b)");
    check(Compel, A1111, "a withLora(ink, 0.5)", "a <lora:ink:0.5>");
    check(A1111, Compel, "a BREAK b <lora:ink:1>", "(\"a\", \"b withLora(ink, 1)\").and()");
    check(Compel, A1111, "(\"a\", \"b withLora(ink, 1)\").and()", "a BREAK b <lora:ink:1>");
}

#[test]
fn what_fuzzing_found_is_written_and_read_as_the_same() {
    for (dialect, text) in [
        (Dialect::A1111, "(a).b\u{1e} ("),
        (Dialect::A1111, "a (\u{1c}b:1.2)\u{1f}["),
        (Dialect::NovelAi, "{999999999999::a}"),
        (Dialect::Compel, "a,.swap(b)c"),
        (Dialect::Swarm, "<fromto[0.1e95]:a,b> <fromto[1.0e-90]:a,b>"),
    ] {
        let tree = bare(dialect::read(dialect, text).0);
        let (written, lost) = dialect::write(dialect, &tree);
        assert_eq!((bare(dialect::read(dialect, &written).0), lost), (tree, vec![]), "{text:?}: {written:?}");
    }
    // A quote of the text is no place where a bracket may open.
    let (written, lost) = dialect::convert(Dialect::A1111, Dialect::Compel, "x\"(a:1.1)");
    assert_eq!((written.as_str(), lost.len()), ("x\\\" (a)+", 1));
}

#[test]
fn a_name_that_a_dialect_cannot_write_is_said() {
    let (written, remarks) = dialect::convert(Dialect::A1111, Dialect::Compel, "a <lora:my style:0.8>");
    assert_eq!((written.as_str(), remarks.len(), remarks[0].span.clone()), ("a withLora(my style, 0.8)", 1, 2..21));
    // The name holds half a form.
    let tree = dialect::read(Dialect::Swarm, "<lora:b<lorA:a:>]a:1>").0;
    assert_eq!(dialect::write(Dialect::Swarm, &tree).1.len(), 1);
    assert_eq!(
        dialect::convert(Dialect::Compel, Dialect::A1111, "a withLora(b_1, 0.5)"),
        ("a <lora:b_1:0.5>".to_owned(), vec![])
    );
}

#[test]
fn weights_are_written_as_what_they_are() {
    let again = |dialect, text: &str| dialect::write(dialect, &dialect::read(dialect, text).0).0;
    // 0.3 * 3 is a little less than 0.9, which is a minus.
    assert_eq!(
        again(Dialect::Compel, "((b)0.3)3.0 (c d)1.21 e++ (f g)0.9"),
        "(b)0.8999999999999999 (c d)1.21 (e)++ (f g)-"
    );
    assert_eq!(dialect::convert(Dialect::A1111, Dialect::Compel, "((a)), [b]").0, "(a)++, (b)0.9091");
    assert_eq!(dialect::convert(Dialect::NovelAi, Dialect::NovelAi, "{a}, [b]").0, "{a}, [b]");
    assert_eq!(dialect::convert(Dialect::Swarm, Dialect::A1111, "(a:0.9091), ((b:1.2))").0, "[a], (b:1.2)");
}

#[test]
fn what_a_dialect_cannot_say_is_said() {
    let lost = |from, to, text: &str| {
        let (_, remarks) = dialect::convert(from, to, text);
        remarks.iter().any(|remark| remark.code == "not-in-dialect")
    };
    for text in ["[a:b:0.5]", "a AND b", "a BREAK b", "<lora:x:1>"] {
        assert!(lost(Dialect::A1111, Dialect::Comfy, text), "{text}");
    }
    assert!(lost(Dialect::A1111, Dialect::NovelAi, "a {b}"));
    assert!(lost(Dialect::Comfy, Dialect::A1111, "a #1 cat"));
}

#[test]
fn slips_are_found_and_mended() {
    let remarks = Stages::new("a [cat:1.3]", 20).schedule().1;
    let fix = remarks[0].fix.clone().unwrap();
    assert_eq!((remarks[0].code, fix.replacement.as_str(), fix.span), ("vanishing", "(cat:1.3)", 2..11));
    let codes =
        |text: &str| Stages::new(text, 20).schedule().1.into_iter().map(|remark| remark.code).collect::<Vec<_>>();
    assert_eq!(codes("a (b"), ["unclosed-bracket"]);
    assert_eq!(codes("[a|b] c|d"), ["schedule-given-up"]);
    assert_eq!(codes("a 16:9"), ["trailing-weight"]);
    assert_eq!(codes("[a:b:30]"), ["never-reached"]);
    assert_eq!(codes("[a|b] [[c]] (d:1.2) [e:f:0.5]"), Vec::<&str>::new());
}

#[test]
fn a_megabyte_of_brackets_is_read() {
    let brackets = ["(", "[", ")", "(a", "[a:", "[a|", "((a:1.2)", "<lora:", "a AND "];
    let repeated = brackets.map(|bracket| bracket.repeat(1_000_000 / bracket.len()));
    // Brackets that cross: each round one closes behind all the square ones.
    let crossing = ["(", "[", ")"].map(|bracket| bracket.repeat(300_000)).concat();
    for text in repeated.into_iter().chain([crossing]) {
        assert_eq!(highlight(&text).last().map(|piece| piece.span.end), Some(text.len()));
        let (stretches, remarks) = Stages::new(&text, 1).schedule();
        assert!(!stretches.is_empty() && remarks.len() < 3000);
        for dialect in Dialect::ALL {
            dialect::read(dialect, &text);
        }
    }
    let nested = format!("{}a{}", "(".repeat(500_000), ")".repeat(500_000));
    assert!(
        Stages::new(&nested, 1).schedule().0[0].parts[0].fragments.iter().all(|fragment| fragment.weight.is_finite())
    );
}

/// The tree without places.
fn bare(mut tree: Tree) -> Tree {
    for item in tree.parts.iter_mut().flat_map(|part| &mut part.items) {
        match item {
            Item::Text(fragment) => fragment.span = 0..0,
            Item::Break(span) => *span = 0..0,
            Item::Open(_) | Item::Next | Item::Close => {}
        }
    }
    for network in &mut tree.extra_networks {
        (network.span, network.args) = (0..0, Vec::new());
    }
    tree
}

/// Text with much of what means something in one dialect or another.
fn texts() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "a",
        "b c",
        " ",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "<",
        ">",
        ":",
        "|",
        "||",
        "::",
        "$$",
        "${",
        "%{",
        "__",
        "\\",
        "\"",
        "+",
        "-",
        "=",
        "!",
        "#",
        "\n",
        ",",
        ".",
        "0.5",
        "1.3",
        ":1.2)",
        ":3]",
        "2$$",
        "AND",
        "BREAK",
        "<lora:x:1>",
        "<alternate:",
        "<fromto[0.5]:",
        "<break>",
        "<embed:",
        "withLora(x, 1)",
        ".and()",
        "é",
        "猫",
        "\u{200b}",
        "1.5::",
        "(\"",
        "__w__",
        "${v=",
        "${v}",
        "{@a|b}",
        "...",
        " :2 ",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(text in texts(), which in 0usize..5) {
        let dialect = Dialect::ALL[which];
        let (tree, _) = dialect::read(dialect, &text);
        let (written, lost) = dialect::write(dialect, &tree);
        if lost.is_empty() {
            prop_assert_eq!(bare(dialect::read(dialect, &written).0), bare(tree), "{:?}", written);
        }
    }

    #[test]
    fn spans_lie_in_the_text(text in texts(), steps in 1u32..12) {
        let stages = Stages::new(&text, steps);
        let (stretches, remarks) = stages.schedule();
        let fragments = stretches.iter().flat_map(|stretch| &stretch.parts).flat_map(|part| &part.fragments);
        for span in fragments.map(|fragment| &fragment.span).chain(remarks.iter().map(|remark| &remark.span)) {
            prop_assert!(text.get(span.clone()).is_some(), "{:?}", span);
        }
        for method in [Method::Random, Method::Combinatorial, Method::Cyclical] {
            let wanted = Wanted { method, seed: 7, count: 3 };
            let (prompts, remarks) = expand_traced(&Traced::new(&text), &wildcards(), wanted);
            for remark in remarks {
                prop_assert!(text.get(remark.span.clone()).is_some(), "{:?}", remark);
            }
            prop_assert_eq!(
                prompts.iter().map(Traced::text).collect::<Vec<_>>(),
                expand(&text, &wildcards(), wanted).prompts
            );
            for prompt in &prompts {
                for (_, place) in prompt.runs() {
                    prop_assert!(text.get(place.clone()).is_some(), "{:?}", place);
                }
                let (stretches, remarks) = Stages::of(prompt, Timing::of_steps(steps)).schedule();
                let fragments = stretches.iter().flat_map(|stretch| &stretch.parts).flat_map(|part| &part.fragments);
                for span in fragments.map(|fragment| &fragment.span).chain(remarks.iter().map(|remark| &remark.span)) {
                    prop_assert!(text.get(span.clone()).is_some(), "{:?} of {:?}", span, prompt);
                }
            }
        }
    }
}

fn maquette(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_maquette")).arg("prompt").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_command_line_explains() {
    let value = maquette(&["explain", "a [b:.5] (c:1.2) <lora:x:0.8> [y:1.3]", "--steps", "10", "--json"]);
    let steps: Vec<&Value> =
        value["schedule"].as_array().unwrap().iter().map(|stretch| &stretch["until_step"]).collect();
    assert_eq!(steps, [5, 10]);
    let part = &value["schedule"][1]["parts"][0];
    assert_eq!((&part["weight"], &part["text"]), (&1.0.into(), &"a b (c:1.2)  ".into()));
    assert_eq!(part["fragments"][1], serde_json::json!({"text": "c", "weight": 1.2, "span": [10, 11]}));
    assert_eq!(value["extra_networks"][0]["name"], "x");
    let remark = &value["diagnostics"][0];
    assert_eq!(
        (&remark["code"], &remark["severity"], &remark["span"]),
        (&"vanishing".into(), &"error".into(), &serde_json::json!([30, 37]))
    );
    let mark = &maquette(&["explain", "a BREAK b", "--json"])["schedule"][0]["parts"][0]["fragments"][1];
    assert_eq!((&mark["text"], &mark["weight"]), (&"BREAK".into(), &(-1.0).into()));
    let comfy = maquette(&["explain", "((a:1.2))", "--dialect", "comfyui", "--json"]);
    assert_eq!(comfy["schedule"][0]["parts"][0]["fragments"][0]["weight"], 1.2);
}

#[test]
fn the_command_line_expands_and_converts() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("animals")).unwrap();
    std::fs::write(folder.path().join("animals/pets.txt"), "cat\ndog\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let value = maquette(&["expand", "{big|small} __animals/*__", "--all", "--wildcards", path, "--json"]);
    assert_eq!(value["prompts"], serde_json::json!(["big cat", "big dog", "small cat", "small dog"]));
    let twice =
        || maquette(&["expand", "{a|b|c|d} {1|2|3}", "--seed", "7", "--count", "5", "--json"])["prompts"].clone();
    assert_eq!((twice().as_array().unwrap().len(), twice()), (5, twice()));
    let value = maquette(&["convert", "--from", "a1111", "--to", "invokeai", "a (cat:1.3)", "--json"]);
    assert_eq!(value["prompt"], "a (cat)1.3");
    let missing = Path::new(path).join("nowhere");
    let arguments = ["prompt", "expand", "a", "--wildcards", missing.to_str().unwrap()];
    let output = Command::new(env!("CARGO_BIN_EXE_maquette")).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

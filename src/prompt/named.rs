//! Which files a prompt asks for by name: LoRAs (`<lora:ink:0.8>`) and learned words (`embedding:mood`, `<mood>`, or the name alone
//! where it is known).

use super::network::ExtraNetwork;
use super::stages::Stages;

/// What ComfyUI writes before the name of a learned word.
pub const MARK: &str = "embedding:";
/// What stands for a LoRA in front of its name; the second is what files of other kinds than plain LoRA once needed.
const KINDS: [&str; 2] = ["lora", "lyco"];

/// A LoRA that a prompt names.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedLora {
    /// The name of its file, without its ending.
    pub name: String,
    /// How much of it the text towers get.
    pub text_strength: f32,
    /// How much of it the denoising net gets.
    pub unet_strength: f32,
}

/// Whether this is a LoRA.
pub fn is_lora(network: &ExtraNetwork) -> bool {
    KINDS.contains(&network.kind.to_ascii_lowercase().as_str()) && !network.name.trim().is_empty()
}

/// The LoRAs that `prompt` names, in order; of one that is named twice, the strengths are added up.
pub fn loras(prompt: &str) -> Vec<NamedLora> {
    // This is asked while somebody types; most prompts name none.
    if !prompt.contains('<') {
        return Vec::new();
    }
    let mut named: Vec<NamedLora> = Vec::new();
    for network in Stages::new(prompt, 1).extra_networks.iter().filter(|network| is_lora(network)) {
        let (name, text, unet) = (network.name.trim(), network.weight as f32, network.denoiser_weight as f32);
        match named.iter_mut().find(|known| known.name == name) {
            Some(known) => {
                known.text_strength += text;
                known.unet_strength += unet;
            }
            None => {
                named.push(NamedLora { name: name.to_owned(), text_strength: text, unet_strength: unet });
            }
        }
    }
    named
}

/// The names behind each `embedding:` of `text`, up to the next space, comma or bracket.
pub fn marked_words(text: &str) -> Vec<String> {
    // Only ASCII letters become small, so places stay the same.
    let small = text.to_ascii_lowercase();
    let ends = |c: char| c.is_whitespace() || ",;:()[]{}<>|\"".contains(c);
    let word = |at: usize| text.get(at + MARK.len()..)?.split(ends).next().map(|word| word.trim_end_matches('.'));
    let words = small.match_indices(MARK).filter_map(|(at, _)| word(at));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether `text` has `name` in it as a word or words of their own, whatever their case.
pub fn names(text: &str, name: &str) -> bool {
    !name.trim().is_empty() && alone(&text.to_ascii_lowercase(), &name.to_ascii_lowercase()).is_some()
}

/// The byte at which `name` first stands alone in `text`, both in small letters: letters do not go on before or behind it.
pub fn alone(text: &str, name: &str) -> Option<usize> {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let is_part = |inner: Option<char>, outer: Option<char>| is_letter(inner) && is_letter(outer);
    text.match_indices(name).map(|(at, _)| at).find(|at| {
        let before = text.get(..*at).and_then(|text| text.chars().next_back());
        let after = text.get(*at + name.len()..).and_then(|text| text.chars().next());
        !is_part(name.chars().next(), before) && !is_part(name.chars().next_back(), after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loras_are_found_with_their_strengths() {
        let check = |text: &str, want: &[(&str, f32, f32)]| {
            let got = loras(text);
            let got: Vec<_> = got.iter().map(|one| (one.name.as_str(), one.text_strength, one.unet_strength)).collect();
            assert_eq!(got, want, "{text}");
        };
        check("a fox", &[]);
        check("a <lora:ink:0.5> fox <LoRA:sea:0.25:2>", &[("ink", 0.5, 0.5), ("sea", 0.25, 2.0)]);
        check("<lyco:ink><lora:ink:0.5>", &[("ink", 1.5, 1.5)]);
        check("<hypernet:ink> <lora: :1> # <lora:comment>", &[]);
    }

    #[test]
    fn words_are_found_with_and_without_a_mark() {
        assert_eq!(marked_words("a embedding:mood, (Embedding:Bad-Hand:1.2) embedding: x"), ["mood", "Bad-Hand"]);
        assert_eq!(marked_words("été embedding:été."), ["été"]);
        for (text, name, is_named) in [
            ("a Mood.", "mood", true),
            ("moody", "mood", false),
            ("<mood>", "mood", true),
            ("embedding:mood", "mood", true),
            ("bad hand, x", "bad hand", true),
            ("anything", "", false),
        ] {
            assert_eq!(names(text, name), is_named, "{name} in {text}");
        }
    }
}

//! Grids from text.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::job::sampling::{Sampler, Sampling};
use crate::job::spec::GenerateSpec;
use crate::prompt::expand::wildcards::Wildcards;

fn base() -> GenerateSpec {
    GenerateSpec {
        model: crate::job::ModelRef::builtin(),
        prompt: "a red fox, snow".to_owned(),
        negative: "red eyes".to_owned(),
        sampling: Sampling::default(),
        count: 4,
        init: None,
        noise: None,
        nets: crate::job::nets::OtherNets::default(),
        loras: Vec::new(),
        embeddings: Vec::new(),
    }
}

fn read(base: &GenerateSpec, axes: &[&str]) -> Result<Grid, String> {
    let templates = [("Sketch".to_owned(), "a sketch of {subject}".to_owned())];
    let (wildcards, _) = Wildcards::parse([("season.txt", "winter\nsummer")]);
    let sources = Sources { templates: &templates, wildcards: &wildcards, dice: 7 };
    let axes: Vec<AxisText> =
        axes.iter().map(|axis| axis.parse().map_err(|e: ValueError| e.0)).collect::<Result<_, _>>()?;
    Grid::read(base, &axes, &sources).map_err(|error| error.0)
}

fn prompts(base: &GenerateSpec, axis: &str) -> Vec<String> {
    read(base, &[axis]).unwrap().cells.into_iter().map(|cell| cell.spec.prompt).collect()
}

#[test]
fn a_grid_is_every_combination_each_a_request_of_its_own() {
    let grid = read(&base(), &["Steps: 5,10", "Prompt S/R: red, blue, \"white, old\"", "CFG Scale: 1-3 [2]"]).unwrap();
    assert_eq!(grid.cells.len(), 12);
    let cell = &grid.cells[1 + 2 * 2 + 6];
    assert_eq!(cell.at, [1, 2, 1]);
    assert_eq!((cell.spec.sampling.steps, cell.spec.sampling.guidance, cell.spec.count), (10, 3.0, 1));
    assert_eq!((cell.spec.prompt.as_str(), cell.spec.negative.as_str()), ("a white, old fox, snow", "white, old eyes"));
    assert_eq!(cell.job, cell.spec.hash());
    let jobs: std::collections::HashSet<&str> = grid.cells.iter().map(|cell| cell.job.as_str()).collect();
    assert_eq!(jobs.len(), 12);
    let first = &grid.cells[0];
    assert!(cell.cost > 2.0 * first.cost, "more steps, and guidance, cost more");
    assert_eq!(grid.title("a red fox, snow"), "Steps × Prompt S/R × Guidance: a red fox, snow");
    assert_eq!(grid.title("a red fox in the snow, at dusk"), "Steps × Prompt S/R × Guidance: a red fox in the snow");
}

#[test]
fn prompts_vary_in_every_way() {
    let base = base();
    assert_eq!(prompts(&base, "Prompt order: red, snow"), ["a red fox, snow", "a snow fox, red"]);
    assert_eq!(prompts(&base, "Weight: red fox, 0.8, 1"), ["a (red fox:0.8), snow", "a red fox, snow"]);
    assert_eq!(prompts(&base, "Modifier: none, foggy"), ["a red fox, snow", "a red fox, snow, foggy"]);
    assert_eq!(
        prompts(&base, "template: sketch, \"{subject}, ink\""),
        ["a sketch of a red fox, snow", "a red fox, snow, ink"]
    );
    assert_eq!(prompts(&base, "Leave out: phrases"), ["a red fox, snow", "snow", "a red fox"]);
    assert_eq!(prompts(&base, "Leave out: red"), ["a red fox, snow", "a fox, snow"]);
    assert_eq!(prompts(&base, "Prompt: \"a cat, ink\", a dog"), ["a cat, ink", "a dog"]);
    let dynamic = GenerateSpec { prompt: "a {red|blue} fox in __season__".to_owned(), ..base };
    let all = prompts(&dynamic, "Prompt expansions: all");
    assert_eq!(all.len(), 4);
    assert!(all.contains(&"a blue fox in summer".to_owned()), "{all:?}");
    assert_eq!(
        prompts(&dynamic, "wildcards: 3"),
        prompts(&dynamic, "wildcards: 3"),
        "the same dice give the same cells"
    );
    let dynamic = GenerateSpec { negative: "{mist|rain}".to_owned(), ..dynamic };
    let seeds = read(&dynamic, &["Seed: 1-6", "Prompt S/R: fox, cat"]).unwrap();
    let (texts, jobs): (Vec<_>, Vec<_>) =
        seeds.cells.iter().map(|cell| ((&cell.spec.prompt, &cell.spec.negative), &cell.job)).unzip();
    assert!(
        texts.iter().all(|(prompt, negative)| !prompt.contains(['{', '_']) && !negative.contains('{')),
        "{texts:?}"
    );
    assert!(texts.iter().any(|text| text.0 != texts[0].0), "each seed draws for itself");
    assert_eq!(texts[0].0.replace("fox", "cat"), *texts[6].0, "and the same for all pictures with it");
    assert_eq!(*jobs[0], seeds.cells[0].spec.hash());
    let both = read(&dynamic, &["Prompt S/R: fox, cat", "Prompt expansions: all"]).unwrap();
    let twice = read(&dynamic, &["Prompt: a", "Prompt expansions: all"]).unwrap_err();
    assert!(twice.contains("Prompt expansions: another axis decides this"), "{twice}");
    assert!(both.cells.iter().any(|cell| cell.spec.prompt == "a blue cat in winter"), "replaced after expanding");
}

#[test]
fn names_and_seeds_are_read() {
    let base = base();
    let samplers = read(&base, &["Sampler: Euler, dpm++2m"]).unwrap();
    let found: Vec<Option<Sampler>> = samplers.cells.iter().map(|cell| cell.spec.sampling.sampler).collect();
    assert_eq!(found, [Some(Sampler::Euler), Some(Sampler::DpmPlusPlus2M)]);
    assert_eq!(read(&base, &["Schedule type: all"]).unwrap().cells.len(), 4);
    let seeds: Vec<u64> =
        read(&base, &["Seed: 3, -1, -1"]).unwrap().cells.iter().map(|c| c.spec.sampling.seed).collect();
    assert_eq!(seeds[0], 3);
    assert!(seeds[1] != seeds[2] && seeds[1] <= u64::from(u32::MAX), "{seeds:?}");
    assert_eq!(read(&base, &["Size: 64x32"]).unwrap().cells[0].spec.sampling.size.height, 32);
}

#[test]
fn what_is_wrong_is_said_with_the_name_of_the_axis() {
    for (axes, part) in [
        (vec!["Stepz: 5"], "there is no axis \"Stepz\"; choose one of Steps"),
        (vec!["Steps 5"], "is no axis"),
        (vec!["Steps: 0"], "Steps: 0 is not between 1 and 1000"),
        (vec!["Steps: "], "type at least one value"),
        (vec!["Steps: 2.5"], "\"2.5\" is not a whole number"),
        (vec!["Steps: 1", "Steps: 2"], "another axis decides this"),
        (vec!["Prompt: a", "Prompt: b"], "another axis decides this"),
        (vec!["Prompt S/R: dog, cat"], "\"dog\" is neither in the prompt"),
        (vec!["Prompt S/R: , cat"], "the first value is what is searched"),
        (vec!["Sampler: magic"], "there is no \"magic\"; choose from euler"),
        (vec!["Prompt order: red, dog"], "\"dog\" is not in the prompt"),
        (vec!["Weight: dog, 1"], "\"dog\" is not in the prompt"),
        (vec!["Weight: fox, 11"], "11 is not between 0 and 10"),
        (vec!["Template: Oil"], "there is no template \"Oil\""),
        (vec!["Prompt expansions: all"], "has no variants"),
        (vec!["Strength: 0.5"], "no picture to depart from"),
        (vec!["Seed: -2"], "-2 is no seed"),
        (vec!["Size: big"], "is not a size"),
        (vec!["Seed: 1-1000", "Steps: 1-100"], "100000 pictures are too many"),
        (vec!["Guidance rescale: 2"], "2 is not between 0 and 1"),
    ] {
        let error = read(&base(), &axes).unwrap_err();
        assert!(error.contains(part), "{axes:?}: {error}");
    }
}

#[test]
fn two_replacements_may_stand_beside_each_other() {
    let grid = read(&base(), &["Prompt S/R: red, blue", "Prompt S/R: snow, ink"]).unwrap();
    assert_eq!(grid.cells[3].spec.prompt, "a blue fox, ink");
}

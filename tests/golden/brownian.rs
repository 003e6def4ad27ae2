//! Brownian paths against torchsde's tree as diffusers asks it. `tests/golden/diffusion/make_brownian.py` made the numbers.

use maquette::job::sampling::RandomSource;
use maquette::models::brownian::BrownianPath;
use serde_json::Value;

use super::{folder, list};

/// Of noise of variance 1 over a step of length 1. The shorter a step, the larger is what rounding leaves in a path's sums.
const TOLERANCE: f64 = 2e-6;

#[test]
fn paths_equal_torchsde() {
    let text = std::fs::read_to_string(folder("brownian.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let (mut asked, mut worst) = (0, 0f64);
    for case in &cases {
        let [low, high] = list(&case["ends"])[..] else { panic!("{case}") };
        let (seed, count) = (case["seed"].as_str().unwrap().parse().unwrap(), case["count"].as_u64().unwrap() as usize);
        let path = BrownianPath::new(RandomSource::Cpu, seed, [low as f32, high as f32], count);
        for question in case["questions"].as_array().unwrap() {
            let (from, to, want) = (question[0].as_f64().unwrap(), question[1].as_f64().unwrap(), list(&question[2]));
            let got = path.noise(from as f32, to as f32);
            assert_eq!(got.len(), want.len());
            // Every number on the way is a sum of the size of the whole path.
            let allowed = TOLERANCE * (1.0 + (high - low).sqrt() / (from - to).abs().sqrt() * 0.05);
            for (got, want) in got.iter().zip(&want) {
                let off = (f64::from(*got) - want).abs();
                assert!(off <= allowed, "seed {seed}, {count} numbers, {from} to {to}: {got}, not {want}");
                worst = worst.max(off / allowed);
            }
            asked += 1;
        }
    }
    println!("{asked} questions, at most {worst:.2} of what is allowed");
    assert!(asked > 150);
}

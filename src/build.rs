//! Tells cargo which folders are embedded, so that a changed file in them makes it build anew.

fn main() {
    let models = ["assets/models/clip", "assets/models/diffusion", "assets/models/judge", "assets/models/world"];
    for folder in ["presets", "assets/icons", "assets/samples"].into_iter().chain(models) {
        println!("cargo:rerun-if-changed={folder}");
    }
}

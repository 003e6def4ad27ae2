//! Tells cargo which folders are embedded, so that a changed file in them makes it build anew.

fn main() {
    for folder in ["presets", "assets/icons", "assets/samples", "assets/models/clip", "assets/models/diffusion"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}

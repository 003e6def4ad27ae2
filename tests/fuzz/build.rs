//! The readers embed the built-in models from folders that they name beside the product's manifest: that is where they are to look.

fn main() {
    println!("cargo:rustc-env=CARGO_MANIFEST_DIR={}/../..", env!("CARGO_MANIFEST_DIR"));
}

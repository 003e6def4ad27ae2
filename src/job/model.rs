//! Which model a job wants: the id of a catalogue entry, or a folder on disk.

use serde::{Deserialize, Serialize};

/// A model by catalogue id ("builtin") or by path. Resolved by `registry`, which also says what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelRef(pub String);

impl ModelRef {
    /// The models that ship inside the program: a CLIP and a diffusion model.
    pub fn builtin() -> Self {
        Self("builtin".to_owned())
    }
}

impl Default for ModelRef {
    fn default() -> Self {
        Self::builtin()
    }
}

impl std::fmt::Display for ModelRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ModelRef {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

//! Colour maps: from a number between 0 and 1 to a colour. Perceptually even ones first; the tables are `colorous`'.

use serde::{Deserialize, Serialize};

/// How similarity values become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colormap {
    /// Dark violet through red to yellow: reads well over pictures.
    #[default]
    Inferno,
    /// Dark violet through green to yellow.
    Viridis,
    /// Dark violet through pink to white.
    Magma,
    /// Blue through green to red: strongest contrast, not perceptually even.
    Turbo,
    /// Black to white.
    Gray,
}

impl Colormap {
    /// Every colour map, in the order of the menus.
    pub const ALL: [Self; 5] = [Self::Inferno, Self::Viridis, Self::Magma, Self::Turbo, Self::Gray];

    /// The name that people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inferno => "Inferno",
            Self::Viridis => "Viridis",
            Self::Magma => "Magma",
            Self::Turbo => "Turbo",
            Self::Gray => "Gray",
        }
    }

    /// The colour of `value`; values outside 0..=1 get the colour of the nearer end, NaN that of 0.
    pub fn rgb(self, value: f32) -> [u8; 3] {
        let t = f64::from(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) });
        let gradient = match self {
            Self::Inferno => colorous::INFERNO,
            Self::Viridis => colorous::VIRIDIS,
            Self::Magma => colorous::MAGMA,
            Self::Turbo => colorous::TURBO,
            Self::Gray => {
                let v = (t * 255.0).round() as u8;
                return [v, v, v];
            }
        };
        gradient.eval_continuous(t).into_array()
    }

    /// The colours of 256 evenly spaced values: index it by `(value * 255.0).round()`.
    pub fn table(self) -> [[u8; 3]; 256] {
        std::array::from_fn(|i| self.rgb(i as f32 / 255.0))
    }
}

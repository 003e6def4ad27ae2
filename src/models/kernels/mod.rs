//! The arithmetic that our nets share, in one place so that it can be made faster in one place.

mod activation;
mod attention;

pub use activation::{Activation, geglu};
pub use attention::{attention, causal_bias, merge_heads, split_heads};

//! The door into attention: capturing (heatmaps) and steering (regions, edits) use the same one.

use candle_core::Tensor;

use super::error::Result;

/// Where in a net an attention layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// Counts the attention layers of the net in the order in which they run.
    pub layer: usize,
    /// Whether keys and values come from elsewhere (the prompt) rather than from the queries' own sequence.
    pub is_cross: bool,
}

/// Seen by every attention layer.
pub trait AttentionHook {
    /// Whether this layer's probabilities are wanted; without it a layer may never compute them all at once.
    fn wants(&self, site: Site) -> bool;

    /// Added to the scores (batch, heads, queries, keys) before the softmax; anything that broadcasts to it.
    fn bias(&self, site: Site) -> Option<&Tensor>;

    /// Receives the probabilities (batch, heads, queries, keys) of a layer that was wanted.
    ///
    /// # Errors
    /// Whatever stops the net from going on.
    fn observe(&mut self, site: Site, probabilities: &Tensor) -> Result<()>;

    /// Receives what a layer has in hand anyway; nothing is computed or copied for it.
    ///
    /// # Errors
    /// Whatever stops the net from going on.
    fn look(&mut self, _site: Site, _seen: Seen<'_>) -> Result<()> {
        Ok(())
    }
}

/// What a layer has in hand.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// The states (batch, length, width) that enter a transformer layer; transformers' `hidden_states[layer]`.
    Before(&'a Tensor),
    /// Projected for attention, heads side by side: q (batch, queries, width), k and v (batch, keys, width).
    Projections {
        /// What asks.
        q: &'a Tensor,
        /// What is asked.
        k: &'a Tensor,
        /// What is answered.
        v: &'a Tensor,
    },
    /// The states that leave it; transformers' `hidden_states[layer + 1]`.
    After(&'a Tensor),
}

/// Hands an optional hook from layer to layer and counts the layers.
pub struct Hooks<'a> {
    hook: Option<&'a mut dyn AttentionHook>,
    next_layer: usize,
}

impl<'a> Hooks<'a> {
    /// For one run of a net.
    pub fn new(hook: Option<&'a mut dyn AttentionHook>) -> Self {
        Self { hook, next_layer: 0 }
    }

    /// For a run that nobody watches.
    pub fn none() -> Self {
        Self::new(None)
    }

    /// The site of the attention layer that runs now.
    pub(super) fn enter(&mut self, is_cross: bool) -> Site {
        let site = Site { layer: self.next_layer, is_cross };
        self.next_layer += 1;
        site
    }

    /// The site that [`Self::enter`] will give.
    pub(super) fn next_site(&self, is_cross: bool) -> Site {
        Site { layer: self.next_layer, is_cross }
    }

    pub(super) fn look(&mut self, site: Site, seen: Seen<'_>) -> Result<()> {
        self.hook.as_mut().map_or(Ok(()), |hook| hook.look(site, seen))
    }

    pub(super) fn wants(&self, site: Site) -> bool {
        self.hook.as_ref().is_some_and(|hook| hook.wants(site))
    }

    pub(super) fn bias(&self, site: Site) -> Option<&Tensor> {
        self.hook.as_ref().and_then(|hook| hook.bias(site))
    }

    pub(super) fn observe(&mut self, site: Site, probabilities: &Tensor) -> Result<()> {
        match self.hook.as_mut() {
            Some(hook) if hook.wants(site) => hook.observe(site, probabilities),
            _ => Ok(()),
        }
    }
}

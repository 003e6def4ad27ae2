//! Zero-shot classification of the current picture, kept current while the user edits classes and templates.

use std::sync::Arc;

use super::prepare::KnownTexts;
use crate::engine::JobId;
use crate::job::output::ZeroShotTable;
use crate::job::spec::ZeroShotSpec;

/// The newest scores and what is under way.
#[derive(Debug)]
pub struct ZeroShot {
    /// The newest request, or why there can be none.
    pub(super) asked: Result<Option<ZeroShotSpec>, String>,
    pub(super) texts: KnownTexts,
    pub(super) job: Option<JobId>,
    pub(super) table: Option<Arc<ZeroShotTable>>,
    pub(super) failed: Option<String>,
}

impl Default for ZeroShot {
    fn default() -> Self {
        Self { asked: Ok(None), texts: KnownTexts::default(), job: None, table: None, failed: None }
    }
}

impl ZeroShot {
    /// The newest scores, of one picture; may be older than what is asked now.
    pub fn table(&self) -> Option<&Arc<ZeroShotTable>> {
        self.table.as_ref()
    }

    /// Whether newer scores are on their way.
    pub fn is_pending(&self) -> bool {
        self.job.is_some()
    }

    /// Why there are no scores for what is asked now.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}

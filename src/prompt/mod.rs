//! L1: the prompt as text: its phrases, its templates, its modifiers, and the library they come from.
//!
//! Functions of text alone; parsers give a value and warnings, never a bare error. Knows nothing of documents or models.

pub mod chips;
pub mod comment;
pub mod complete;
pub mod compose;
pub mod diagnostic;
pub mod dialect;
pub mod difference;
pub mod emphasis;
pub mod exchange;
pub mod expand;
pub mod find;
pub mod highlight;
pub mod infotext;
pub mod library;
pub mod lint;
pub mod modifier;
pub mod named;
pub mod network;
pub mod nudge;
pub mod phrase;
pub mod reading;
pub mod schedule;
pub mod source;
pub mod stack;
pub mod stages;
pub mod tags;
pub mod template;
pub mod tree;
pub mod values;
pub mod vary;

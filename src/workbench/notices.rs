//! What the user should know: what went wrong and what to do. Kept until dismissed; repetitions are counted.

use super::action::Action;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something was not done as asked.
    Warning,
    /// Something failed.
    Error,
}

/// Names a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoticeId(u64);

/// One notice.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its name.
    pub id: NoticeId,
    /// How bad it is.
    pub level: Level,
    /// What happened and what to do, as a sentence.
    pub text: String,
    /// What would help, one click away.
    pub fix: Option<Action>,
    /// How often it came.
    pub count: usize,
}

/// More than this are not kept; the oldest go first.
const KEPT: usize = 100;

/// The notices, oldest first.
#[derive(Debug, Default)]
pub struct Notices {
    list: Vec<Notice>,
    next: u64,
}

impl Notices {
    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Notice> {
        self.list.iter()
    }

    /// The newest, if any.
    pub fn newest(&self) -> Option<&Notice> {
        self.list.last()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn add(&mut self, level: Level, text: String, fix: Option<Action>) {
        // Two live panels with the same trouble take turns: a repetition is not always the newest.
        if let Some(at) = self.list.iter().rposition(|earlier| earlier.text == text && earlier.level == level) {
            let mut repeated = self.list.remove(at);
            repeated.count += 1;
            repeated.fix = fix;
            self.list.push(repeated);
            return;
        }
        self.next += 1;
        self.list.push(Notice { id: NoticeId(self.next), level, text, fix, count: 1 });
        if self.list.len() > KEPT {
            self.list.remove(0);
        }
    }

    pub(super) fn dismiss(&mut self, id: NoticeId) {
        self.list.retain(|notice| notice.id != id);
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }
}

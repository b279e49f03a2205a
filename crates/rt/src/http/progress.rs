//! Which step a request is at, so that a passed deadline can tell.

use parking_lot::Mutex;

use super::error::{Step, Subject};

#[derive(Debug)]
pub(super) struct Progress(Mutex<(Subject, Step)>);

impl Progress {
    pub(super) fn new(subject: Subject) -> Self {
        Self(Mutex::new((subject, Step::Connect)))
    }

    /// A redirect leads to another host.
    pub(super) fn move_to(&self, subject: Subject) {
        self.0.lock().0 = subject;
    }

    pub(super) fn enter(&self, step: Step) {
        self.0.lock().1 = step;
    }

    pub(super) fn subject(&self) -> Subject {
        self.0.lock().0.clone()
    }

    pub(super) fn step(&self) -> Step {
        self.0.lock().1
    }
}

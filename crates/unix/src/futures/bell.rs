//! How the driver's task is woken, and what about: the one thing that other tasks
//! and threads touch.

use crate::files::RegularFile;
use drywire_core::{FileError, FileId};
use drywire_server::Id;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Rung by connections that have news, by handles, and by threads that opened a file.
///
/// Bound: two entries for each registered descriptor, since a waker is used up by
/// its wake; and one for each file that is being opened.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<Rung>,
}

#[derive(Debug, Default)]
struct Rung {
    ids: VecDeque<Id>,
    files: Vec<Opened>,
    /// Rung since the task looked last.
    news: bool,
    /// The driver's task, while it waits.
    task: Option<Waker>,
}

/// What came of opening a file.
pub(super) struct Opened {
    pub(super) of: Id,
    pub(super) id: FileId,
    pub(super) result: Result<RegularFile, FileError>,
}

impl Bell {
    /// Wakes the task: there is something to look at.
    pub fn ring(&self) {
        self.ring_with(|_| ());
    }

    pub(super) fn on_opened(&self, opened: Opened) {
        self.ring_with(|rung| rung.files.push(opened));
    }

    /// A waker that names whom it is about.
    pub(super) fn waker(self: &Arc<Bell>, id: Id) -> Waker {
        Waker::from(Arc::new(Pull { id, bell: self.clone() }))
    }

    /// Waits until it is rung. It stays so until somebody looks: whoever waited may
    /// drop the answer.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut rung = self.lock();
        if rung.news {
            return Poll::Ready(());
        }
        match &mut rung.task {
            Some(task) => task.clone_from(cx.waker()),
            None => rung.task = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Moves what it was rung about to where the task can look at it.
    pub(super) fn take(&self, ids: &mut VecDeque<Id>, files: &mut Vec<Opened>) {
        let mut rung = self.lock();
        rung.news = false;
        if ids.is_empty() {
            mem::swap(&mut rung.ids, ids);
        } else {
            ids.append(&mut rung.ids);
        }
        files.append(&mut rung.files);
    }

    /// The task is gone: handles may live on, and are not to keep its memory.
    pub(super) fn forget_task(&self) {
        let task = self.lock().task.take();
        drop(task);
    }

    /// Wakes for the first only (FAULTS 67), and after the lock is free.
    fn ring_with(&self, add: impl FnOnce(&mut Rung)) {
        let mut rung = self.lock();
        add(&mut rung);
        rung.news = true;
        let task = rung.task.take();
        drop(rung);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// A poisoned lock is as good as a sound one: nothing done under it can panic
    /// half-way.
    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's, listener's or source's cord of the bell.
struct Pull {
    id: Id,
    bell: Arc<Bell>,
}

impl Wake for Pull {
    fn wake(self: Arc<Pull>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Pull>) {
        self.bell.ring_with(|rung| rung.ids.push_back(self.id));
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("of", &self.of).field("id", &self.id).finish_non_exhaustive()
    }
}

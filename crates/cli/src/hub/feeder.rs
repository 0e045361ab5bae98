//! The thread that reads what there is to send and hands it over, no faster than it is taken;
//! and what it and the application tell each other.

use super::messages::{InputError, Messages};
use bytes::Bytes;
use drywire_protocols::HubCommand;
use drywire_server::{Handle, Receipt, SendError};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of messages that are on their way and not taken by the transport yet; a longer
/// message goes alone.
pub(super) const WINDOW_BYTES: u32 = 256 * 1024;

/// What a message counts for beside its bytes, which may be none.
const MESSAGE_BYTES: u32 = 64;

/// A receipt comes in any case; it may take as long as the server likes.
const A_WHILE: Duration = Duration::from_secs(3600);

/// What the thread that reads and the application tell each other.
pub(super) struct Shared(Mutex<Told>);

#[derive(Default)]
pub(super) struct Told {
    pub(super) input: Input,
    /// The server will say nothing more, so it is sent nothing more either.
    pub(super) is_server_done: bool,
    /// As many messages came as were expected.
    pub(super) have_all_come: bool,
}

/// ```text
///        a message is read
///  Reading ────────────────▶ Sending
///   │ │ ▲                     │   │
///   │ │ └─────────────────────┘   │ the server has ended
///   │ │    it is handed over      └──────────────────────▶ Unwanted
///   │ └ there is no more ────▶ Sent
///   └ it cannot be read ─────▶ Failed
/// ```
#[derive(Default)]
pub(super) enum Input {
    /// Waits for the next message.
    #[default]
    Reading,
    /// Waits until there is room for one.
    Sending,
    /// Everything is handed over.
    Sent,
    /// There was more, and nobody to take it.
    Unwanted,
    Failed(InputError),
}

impl Shared {
    pub(super) fn new(have_all_come: bool) -> Arc<Shared> {
        Arc::new(Shared(Mutex::new(Told { have_all_come, ..Told::default() })))
    }

    /// Nothing done under it can panic half-way.
    pub(super) fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what there is to send, on a thread of its own, and hands it over.
///
/// Bound: a message that is read, and [`WINDOW_BYTES`] or one message on their way.
pub(super) struct Feeder {
    to: Handle<HubCommand>,
    shared: Arc<Shared>,
    /// Our direction ends behind the last message.
    ends: bool,
    /// Oldest first, each with what it counts for.
    on_their_way: VecDeque<(Receipt, usize)>,
    bytes: usize,
}

impl Feeder {
    pub(super) fn new(to: Handle<HubCommand>, shared: Arc<Shared>, ends: bool) -> Feeder {
        Feeder { to, shared, ends, on_their_way: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn run(mut self, files: Vec<PathBuf>, longest: u32) {
        let mut messages = Messages::new(files, longest);
        let input = loop {
            match messages.next() {
                Ok(Some(message)) => {
                    if !self.hand_over(message) {
                        break Input::Unwanted;
                    }
                }
                Ok(None) => break Input::Sent,
                Err(error) => break Input::Failed(error),
            }
        };
        self.finish(input);
    }

    /// False when nobody wants it.
    fn hand_over(&mut self, message: Bytes) -> bool {
        let mut told = self.shared.lock();
        if told.is_server_done {
            return false;
        }
        told.input = Input::Sending;
        drop(told);
        let is_taken = self.send(message.len(), HubCommand::Send(message));
        self.shared.lock().input = Input::Reading;
        is_taken
    }

    /// Waits for room. False when the connection has ended.
    fn send(&mut self, len: usize, mut command: HubCommand) -> bool {
        let bytes = len + MESSAGE_BYTES as usize;
        while self.bytes + bytes > WINDOW_BYTES as usize && self.wait_for_oldest() {}
        loop {
            match self.to.send_tracked(command) {
                Ok(receipt) => {
                    self.on_their_way.push_back((receipt, bytes));
                    self.bytes += bytes;
                    return true;
                }
                Err(SendError::Closed(_)) => return false,
                Err(SendError::Full(refused) | SendError::TooLarge(refused)) => command = refused,
            }
            assert!(self.wait_for_oldest(), "there is room for the longest message when no other is on its way");
        }
    }

    /// Until the transport has taken it, or the connection has ended. False when nothing
    /// is on its way.
    fn wait_for_oldest(&mut self) -> bool {
        let Some((receipt, bytes)) = self.on_their_way.pop_front() else { return false };
        while receipt.wait(A_WHILE).is_none() {}
        self.bytes -= bytes;
        true
    }

    fn finish(mut self, input: Input) {
        let mut told = self.shared.lock();
        let is_sent = matches!(input, Input::Sent);
        told.input = input;
        match (is_sent, self.ends) {
            (true, true) => {
                drop(told);
                self.send(0, HubCommand::End);
            }
            (true, false) if !told.have_all_come => {}
            (true, false) | (false, _) => self.to.close(),
        }
    }
}

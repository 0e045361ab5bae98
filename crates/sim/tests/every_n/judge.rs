//! What must hold of a session, whatever went wrong in it.

use super::session::{Outcome, Refused, Session};
use super::wire::{Oddity, Op};
use drywire_core::layer::Layer;
use drywire_core::{FileError, Protocol, Reason, TransportError};
use std::fmt::Debug;

/// Nothing lost, nothing leaked, one close, the right reason.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn judge<P, L>(session: &Session<P, L>, outcome: &Outcome<P::Error>) -> Result<(), String>
where
    P: Protocol,
    P::Error: Debug + PartialEq,
    L: Layer,
{
    if let Some(broken) = outcome.broken {
        return Err(broken.to_owned());
    }
    let [report] = &outcome.reports[..] else { return Err(format!("{} close reports", outcome.reports.len())) };
    if outcome.left_open > 0 {
        return Err(format!("{} files left open", outcome.left_open));
    }
    if outcome.held_bytes > 0 {
        return Err(format!("{} bytes held after the close", outcome.held_bytes));
    }
    if report.counters.sent != outcome.taken.len() as u64 {
        return Err(format!("{} bytes counted as sent, {} taken", report.counters.sent, outcome.taken.len()));
    }
    let refused: Refused = outcome.hits.iter().filter_map(refusal).collect();
    let whole = (session.model)(&refused);
    if report.reason == session.reason {
        // Not even a fatal fault loses anything when everything was sent before.
        return equal(&outcome.taken, &whole);
    }
    let typed = outcome.hits.iter().find_map(reason::<P::Error>);
    if typed.as_ref() != Some(&report.reason) {
        return Err(format!("closed for {:?}, where {typed:?} was met", report.reason));
    }
    if !whole.starts_with(&outcome.taken) {
        return equal(&outcome.taken, &whole);
    }
    Ok(())
}

fn equal(taken: &[u8], whole: &[u8]) -> Result<(), String> {
    let quoted = |bytes: &[u8]| bytes.escape_ascii().to_string();
    if taken == whole { Ok(()) } else { Err(format!("taken {}, owed {}", quoted(taken), quoted(whole))) }
}

/// An open that was refused, by its number.
fn refusal(hit: &super::wire::Fault) -> Option<(usize, FileError)> {
    match (hit.op, hit.oddity) {
        (Op::Open, Oddity::FileFails(error)) => Some((hit.nth, error)),
        _ => None,
    }
}

/// The reason a fault ends a connection for.
fn reason<E>(hit: &super::wire::Fault) -> Option<Reason<E>> {
    match hit.oddity {
        Oddity::Fails(error) => Some(Reason::Transport(error)),
        Oddity::FileFails(error) if hit.op != Op::Open => Some(Reason::File(error)),
        Oddity::EndsEarly => Some(Reason::File(FileError::Truncated)),
        Oddity::ThenReset => Some(Reason::Transport(TransportError::Reset)),
        Oddity::FileFails(_)
        | Oddity::WouldBlock
        | Oddity::OneByte
        | Oddity::OneLess
        | Oddity::Later
        | Oddity::Spent => None,
    }
}

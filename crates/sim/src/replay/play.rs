//! Does to a connection what was done to the recorded one, call by call.

use super::ReplayError;
use super::script::{Script, Step, Stop, different, malformed};
use super::verdict::{Identical, Replayed};
use drywire_core::layer::Layer;
use drywire_core::record::{Ended, Entry, Located, ReadAnswer, Record};
use drywire_core::{Action, Blocked, Connection, Live, Protocol, Workspace};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Plays all of it, panics included.
pub(super) fn play<P, L>(mut connection: Connection<P, L>, script: &mut Script<'_>) -> Result<Replayed, ReplayError>
where
    P: Protocol<Command: Record>,
    L: Layer,
{
    let mut panicked = None;
    // Whatever a panic leaves behind is not looked at again: only how far it came.
    let played = catch_unwind(AssertUnwindSafe(|| turns(&mut connection, script)));
    let ended = match played {
        Ok(Ok(ended)) => ended,
        Ok(Err(Stop::Error(error))) => return Err(error),
        Ok(Err(Stop::Different(difference))) => return Ok(Replayed::Different(difference)),
        Err(panic) => match after_panic(script, &*panic) {
            Ok(message) => {
                panicked = Some(message);
                Ended::Dropped
            }
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Different(difference)) => return Ok(Replayed::Different(difference)),
        },
    };
    Ok(Replayed::Identical(Identical {
        entries: script.compared + 1,
        turns: script.turns,
        received: script.received,
        sent: script.sent,
        ended,
        panicked,
        masked: script.is_masked(),
    }))
}

/// A panic is as recorded when the recording ends there, without a close.
fn after_panic(script: &mut Script<'_>, panic: &(dyn Any + Send)) -> Result<String, Stop> {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    let next = script.next_step()?.located;
    if next.entry == Entry::End(Ended::Dropped) {
        script.compare_up_to_end(&next)?;
        return Ok(message);
    }
    Err(different(&next, format!("a panic: {message}")))
}

fn turns<P, L>(connection: &mut Connection<P, L>, script: &mut Script<'_>) -> Result<Ended, Stop>
where
    P: Protocol<Command: Record>,
    L: Layer,
{
    let mut workspace = Workspace::new();
    loop {
        let step = script.next_step()?.located;
        if let Entry::Lend { now, .. } = step.entry {
            script.compare_deadline(&step)?;
            let mut live = connection.lend(&mut workspace, now);
            if let Some(messages) = script.messages_of_turn() {
                live.consume_at_most(messages);
            }
            script.compare_up_to(&step)?;
            turn(&mut live, script)?;
            if script.forgets_turn() {
                std::mem::forget(live);
            }
        } else if let Entry::InjectFull(nth) = step.entry {
            connection.inject_full(nth);
            script.compare_up_to(&step)?;
        } else if let Entry::End(ended) = step.entry {
            script.compare_up_to_end(&step)?;
            return Ok(ended);
        } else {
            return Err(malformed(step.offset));
        }
    }
}

/// One turn: up to what belongs to none.
fn turn<P, L>(live: &mut Live<'_, P, L>, script: &mut Script<'_>) -> Result<(), Stop>
where
    P: Protocol<Command: Record>,
    L: Layer,
{
    let mut waits = false;
    loop {
        let step = script.next_step()?;
        let entry = &step.located.entry;
        if matches!(entry, Entry::End(Ended::Dropped)) && !waits {
            // Maybe this is the call that panicked.
            let _ = live.poll();
        }
        if matches!(entry, Entry::Lend { .. } | Entry::InjectFull(_) | Entry::End(_)) {
            return Ok(());
        }
        waits = matches!(entry, Entry::Wait { .. });
        perform(live, &step, script)?;
        script.compare_up_to(&step.located)?;
    }
}

fn perform<P, L>(live: &mut Live<'_, P, L>, step: &Step<'_>, script: &mut Script<'_>) -> Result<(), Stop>
where
    P: Protocol<Command: Record>,
    L: Layer,
{
    let at = step.located.offset;
    match &step.located.entry {
        Entry::Writable => live.handle_writable(),
        Entry::Read { answer, .. } => return read(live, *answer, step),
        Entry::NotWanted => {
            live.read_with(|_| Err(Blocked::WouldBlock));
        }
        Entry::Command { .. } => {
            let mut from = &step.contents[..];
            let command = P::Command::replay(&mut from).filter(|_| from.is_empty());
            let Some(command) = command else { return Err(Stop::Error(ReplayError::Command { at })) };
            // That it was refused is compared like everything else.
            let _ = live.handle_command(command);
        }
        Entry::File { id, result, .. } => {
            let _ = live.handle_file(*id, *result);
        }
        Entry::TransportError(error) => live.handle_transport_error(*error),
        Entry::Drain => live.drain(),
        Entry::FlushOnly => live.flush_only(),
        Entry::QueueAtMost(bytes) => live.queue_at_most(*bytes),
        Entry::Close => live.close(),
        Entry::Abort => live.abort(),
        Entry::Write { .. }
        | Entry::StreamFile { .. }
        | Entry::ReadFile { .. }
        | Entry::OpenFile { .. }
        | Entry::CloseFile { .. }
        | Entry::Event(_)
        | Entry::EnableRead
        | Entry::DisableRead
        | Entry::HalfClose
        | Entry::Again
        | Entry::Report { .. }
        | Entry::Wait { .. } => return poll(live, &step.located, script),
        // Answers to a token stand behind it and were taken with it.
        Entry::Wrote { .. }
        | Entry::Sent { .. }
        | Entry::FileRead { .. }
        | Entry::OutputFailed(_)
        | Entry::FileFailed(_)
        | Entry::Bytes(_)
        | Entry::Layer(_)
        | Entry::Cut { .. }
        | Entry::Lend { .. }
        | Entry::InjectFull(_)
        | Entry::End(_) => return Err(malformed(at)),
    }
    Ok(())
}

fn read<P: Protocol, L: Layer>(live: &mut Live<'_, P, L>, answer: ReadAnswer, step: &Step<'_>) -> Result<(), Stop> {
    let mut too_small = None;
    live.read_with(|slot| match answer {
        ReadAnswer::Bytes(n) | ReadAnswer::Wire(n) | ReadAnswer::Discarded(n) => {
            let n = n as usize;
            if n > slot.len() {
                too_small = Some(slot.len());
                return Err(Blocked::WouldBlock);
            }
            // What nobody saw, or what only layers did, is not there: it is as long.
            slot[..n].fill(0);
            slot[..step.contents.len()].copy_from_slice(&step.contents);
            Ok(n)
        }
        ReadAnswer::End => Ok(0),
        ReadAnswer::WouldBlock => Err(Blocked::WouldBlock),
        ReadAnswer::Failed(error) => Err(Blocked::Failed(error)),
    });
    match too_small {
        Some(len) => Err(different(&step.located, format!("only {len} bytes may be read"))),
        None => Ok(()),
    }
}

/// Asks the connection what to do, and answers as the transport did then. A token
/// that was not answered is dropped, which says that the transport took nothing.
fn poll<P: Protocol, L: Layer>(
    live: &mut Live<'_, P, L>,
    recorded: &Located<'_>,
    script: &mut Script<'_>,
) -> Result<(), Stop> {
    match live.poll() {
        Action::Write(write) => {
            script.compare_up_to(recorded)?;
            let answer = script.peek()?;
            if let Entry::Wrote { n, .. } = answer.entry {
                let n = usize::try_from(n).map_err(|_| malformed(answer.offset))?;
                let taken = write.with_slices(|slices, _| front(slices, n));
                if taken.len() < n {
                    return Err(malformed(answer.offset));
                }
                if L::TRANSPARENT {
                    script.sent_plain().replace(taken);
                }
                write.wrote(n);
            } else if let Entry::OutputFailed(error) = answer.entry {
                write.failed(error);
            }
        }
        Action::StreamFile(part) => {
            script.compare_up_to(recorded)?;
            let answer = script.peek()?;
            if let Entry::Sent { n } = answer.entry {
                if n > part.len() {
                    return Err(malformed(answer.offset));
                }
                part.sent(n);
            } else if let Entry::OutputFailed(error) = answer.entry {
                part.failed(error);
            } else if let Entry::FileFailed(error) = answer.entry {
                part.file_failed(error);
            }
        }
        Action::ReadFile(part) => {
            script.compare_up_to(recorded)?;
            let answer = script.peek()?.entry;
            if let Entry::FileRead { n } = answer {
                // A number that does not fit will be told as a difference.
                part.read_with(|slot| Ok(slot.len().min(n as usize)));
            } else if let Entry::FileFailed(error) = answer {
                part.read_with(|_| Err(error));
            }
        }
        Action::OpenFile(_)
        | Action::CloseFile(_)
        | Action::Event(_)
        | Action::DisableRead
        | Action::EnableRead
        | Action::HalfClose
        | Action::Again
        | Action::Close(_)
        | Action::Wait(_) => {}
    }
    Ok(())
}

/// The first `n` bytes, or all there are.
fn front(slices: &[&[u8]], n: usize) -> Vec<u8> {
    let mut front = Vec::new();
    for slice in slices {
        front.extend_from_slice(&slice[..slice.len().min(n - front.len())]);
    }
    front
}

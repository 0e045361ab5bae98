//! What a protocol author implements.

use crate::context::Context;
use crate::error::{Failure, Stop};
use crate::file::Opened;
use crate::limits::Limits;
use crate::reply::Reply;

/// One side of a network protocol, as a state machine.
///
/// Every method is one transaction: when it returns an error, what it wrote,
/// emitted, armed and asked for is gone, as if the call had never happened. When
/// the error is [`Stop::Full`] the same call is made again once there is room, so
/// **write first, then change yourself**: a call that is undone does not undo
/// changes to `self`.
///
/// Nothing here knows who connected: clients and servers are the same thing.
///
/// ```
/// use drywire_core::{Context, Protocol, Stop};
/// use core::convert::Infallible;
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     type Event = Infallible;
///     type Command = Infallible;
///     type Error = Infallible;
///
///     fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
///         cx.write(input)?;
///         Ok(input.len())
///     }
/// }
/// ```
pub trait Protocol: Sized {
    /// What it tells the application; [`Infallible`](core::convert::Infallible) if nothing.
    type Event;
    /// What the application asks of it; [`Infallible`](core::convert::Infallible) if nothing.
    type Command;
    /// Why it gives up on a peer.
    type Error;

    /// The bounds a connection has unless its maker says otherwise.
    const LIMITS: Limits = Limits::DEFAULT;

    /// Takes whole messages from the front of `input` and says how many bytes
    /// they were. 0: "I need more" (row B9).
    ///
    /// Called again as long as bytes are taken; after a 0, when more has arrived
    /// or another handler was called. `input` is never empty and holds at most [`Limits::input_bytes`]. What is
    /// left when the input ends goes to [`Protocol::end_of_input`].
    ///
    /// # Errors
    /// Any [`Stop`]; a protocol's own error becomes [`Stop::Peer`] through `?`.
    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Self::Error>>;

    /// The connection is open; a greeting goes here.
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        let _ = cx;
        Ok(())
    }

    /// The peer ended its direction, after `rest`, which [`Protocol::consume`]
    /// did not take. Called once, after everything before it was handled, unless the stream was
    /// cut ([`Protocol::input_cut`]).
    ///
    /// The default closes: what is owed is still written. A protocol that goes on
    /// writing after its peer has ended must close by itself.
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        let _ = rest;
        cx.close();
        Ok(())
    }

    /// The peer's stream was cut: its transport ended where its layer did not (TLS without
    /// close_notify), so nothing says that the peer had no more to say. Called once, instead of
    /// [`Protocol::end_of_input`], after all complete messages before it were handled; what
    /// [`Protocol::consume`] did not take is discarded (FAULTS 75).
    ///
    /// The default closes: what is owed is still written. A protocol that answers later goes on
    /// as after an end, and closes by itself; it must not take what it has for all there is.
    /// Whichever way it finishes, the report says [`Reason::Layer`](crate::Reason::Layer).
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn input_cut(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        cx.close();
        Ok(())
    }

    /// The room asked for with [`Context::request_room`] is there (row B12).
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn room(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        let _ = cx;
        Ok(())
    }

    /// A timer set with [`Context::set_timer`] is due. It is disarmed before the call.
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn timer(&mut self, timer: Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        let _ = (timer, cx);
        Ok(())
    }

    /// The application asks for something. By reference: the call may be made again.
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn command(&mut self, command: &Self::Command, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        let _ = (command, cx);
        Ok(())
    }

    /// What a command costs while it waits, in bytes: what bounds of commands by bytes
    /// count (FAULTS 64). Called on the thread that sends it, so it should only look.
    ///
    /// The default is its own size. A command that owns memory elsewhere adds that; one
    /// that shares it with others adds what it would pin alone.
    fn weigh(command: &Self::Command) -> usize {
        let _ = command;
        size_of::<Self::Command>()
    }

    /// The file asked for with [`Context::open_file`] is open, or could not be.
    ///
    /// [`Context::stream_file`] queues it in this call; a file that is not queued
    /// by then is closed.
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        let _ = (opened, cx);
        Ok(())
    }

    /// The layer was upgraded, as asked for with [`Context::upgrade`]; its handshake goes on.
    /// Called before any input of the upgraded layer. What the peer said before is forgotten
    /// here: it came from who knows whom (RFC 3207 §4.2, FAULTS 33). What is written here is
    /// the first that goes out upgraded.
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn upgraded(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        let _ = cx;
        Ok(())
    }

    /// The server is shutting down: finish what is begun, take nothing new.
    /// The default closes: what is owed is still written.
    ///
    /// # Errors
    /// As [`Protocol::consume`].
    fn drain(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        cx.close();
        Ok(())
    }

    /// The last words to a peer we give up on (row B8). Sent after everything
    /// that was committed before the failure; then the connection closes.
    ///
    /// Bound: [`ERROR_REPLY_BYTES`](crate::ERROR_REPLY_BYTES); see [`Reply`].
    fn error_reply(&self, why: &Failure<Self::Error>, reply: &mut Reply<'_>) {
        let _ = (why, reply);
    }
}

/// One of the timers of a connection, by a name its protocol picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(u8);

impl Timer {
    /// Timers a connection has.
    pub const COUNT: usize = 4;

    /// The timer with this number.
    ///
    /// # Panics
    /// When `number` is not below [`Timer::COUNT`]; at compile time in a `const`.
    #[must_use]
    pub const fn new(number: u8) -> Timer {
        assert!((number as usize) < Timer::COUNT, "a connection has four timers, 0 to 3");
        Timer(number)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

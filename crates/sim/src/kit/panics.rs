//! Panics of a protocol as findings, without their noise.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static LISTENS: Cell<bool> = const { Cell::new(false) };
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Calls `run`.
///
/// The hook is set once and hands on what happens on threads, or at times, when
/// nobody listens here. A search for the shortest input would print each panic anew.
///
/// # Errors
/// What the panic said, and where.
pub(super) fn caught<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !LISTENS.get() {
                return before(info);
            }
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words");
            let place = info.location().map_or_else(String::new, |at| format!(", at {at}"));
            HEARD.replace(Some(format!("{text}{place}")));
        }));
    });
    let outer = LISTENS.replace(true);
    // What was half changed is dropped: every run makes its own.
    let result = catch_unwind(AssertUnwindSafe(run));
    LISTENS.set(outer);
    result.map_err(|_| HEARD.take().unwrap_or_else(|| "a panic nobody heard".to_owned()))
}

//! The kit that users put into their own fuzz targets, over the protocols that are
//! here: it must find nothing.

use drywire_protocols::{ByteEcho, Dialog, Hub, HubCommand, HubEcho, LineEcho};
use drywire_sim::kit::Kit;

/// The first byte says who is spoken to; the rest chooses what is said, how it is cut,
/// and what goes wrong.
pub fn kit(data: &[u8]) {
    let Some((who, choices)) = data.split_first() else { return };
    let found = match who % 6 {
        0 => Kit::new(|| ByteEcho).find_in(choices),
        1 => Kit::new(|| LineEcho).find_in(choices),
        2 => Kit::new(|| LineEcho).limits(LineEcho::SMALL).find_in(choices),
        4 => Kit::new(|| HubEcho::with_longest(50)).limits(Hub::limits(50)).find_in(choices),
        5 => Kit::new(|| Hub::with_longest(50))
            .limits(Hub::limits(50))
            .command(|| HubCommand::Send(b"hello"[..].into()))
            .find_in(choices),
        _ => Kit::new(Dialog::new).file("a", b"contents of a").file("b", Vec::new()).find_in(choices),
    };
    if let Err(finding) = found {
        panic!("{finding}");
    }
}

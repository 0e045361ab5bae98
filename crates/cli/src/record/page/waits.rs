//! What a wait is for, as one colour.

use drywire_core::record::Why;

/// What a wait is coloured by: the reason that matters most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Full,
    File,
    Transport,
    Room,
    Disabled,
    Input,
    Nothing,
}

impl Kind {
    /// For a legend.
    pub(super) const ALL: [(Kind, &'static str); 6] = [
        (Kind::Input, "input"),
        (Kind::Transport, "the peer to take output"),
        (Kind::Full, "room for a refused call"),
        (Kind::Room, "room that was asked for"),
        (Kind::File, "a file"),
        (Kind::Disabled, "reading to be enabled"),
    ];

    pub(super) fn of(why: Why) -> Kind {
        let order = [
            (Why::FULL_OF_BYTES, Kind::Full),
            (Why::FULL_OF_EVENTS, Kind::Full),
            (Why::FULL_OF_FILES, Kind::Full),
            (Why::FILE, Kind::File),
            (Why::TRANSPORT, Kind::Transport),
            (Why::ROOM, Kind::Room),
            (Why::READING_DISABLED, Kind::Disabled),
            (Why::INPUT, Kind::Input),
        ];
        order.into_iter().find(|(reason, _)| why.contains(*reason)).map_or(Kind::Nothing, |(_, kind)| kind)
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Kind::Full => "w-full",
            Kind::File => "w-file",
            Kind::Transport => "w-out",
            Kind::Room => "w-room",
            Kind::Disabled => "w-off",
            Kind::Input => "w-in",
            Kind::Nothing => "w-none",
        }
    }
}

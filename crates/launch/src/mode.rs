//! Chooses how the command runs: on the launcher's streams, or on a terminal that the launcher relays.

use super::terminals::Terminals;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchMode {
    /// The command has the launcher's streams, process group and terminal, if there is one.
    Inherit,
    /// The command has its own terminal, and the launcher relays it.
    Pty(Interface),
}

/// How a person uses the command on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// Uses the whole screen and reads single keys.
    #[default]
    FullScreen,
    Lines,
}

/// When the launcher relays the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PtySetting {
    /// Relays a full-screen interface only.
    Auto,
    Always,
    Never,
}

impl PtySetting {
    /// From the variable's value; any other value is `Auto`.
    pub fn from_text(value: Option<&str>) -> PtySetting {
        match value {
            Some("always") => PtySetting::Always,
            Some("never") => PtySetting::Never,
            _ => PtySetting::Auto,
        }
    }
}

impl LaunchMode {
    /// A stream that is not a terminal is never replaced by one: programs check, and act on the answer.
    pub fn choose(terminals: &Terminals, interface: Interface, setting: PtySetting) -> LaunchMode {
        let wanted = match setting {
            PtySetting::Auto => interface == Interface::FullScreen,
            PtySetting::Always => true,
            PtySetting::Never => false,
        };
        if wanted && terminals.are_one() { LaunchMode::Pty(interface) } else { LaunchMode::Inherit }
    }
}

#[cfg(test)]
mod tests {
    use super::super::terminals::Device;
    use super::*;
    use Interface::{FullScreen, Lines};
    use LaunchMode::{Inherit, Pty};
    use PtySetting::{Always, Auto, Never};

    #[test]
    fn only_one_terminal_on_all_three_streams_is_relayed() {
        let (one, other) = (Some(Device(1)), Some(Device(2)));
        let table = [
            ([one, one, one], FullScreen, Auto, Pty(FullScreen)),
            ([one, one, one], FullScreen, Always, Pty(FullScreen)),
            ([one, one, one], FullScreen, Never, Inherit),
            ([one, one, one], Lines, Auto, Inherit),
            ([one, one, one], Lines, Always, Pty(Lines)),
            ([one, one, one], Lines, Never, Inherit),
            ([None, one, one], FullScreen, Auto, Inherit),
            ([one, None, one], FullScreen, Auto, Inherit),
            ([one, one, None], FullScreen, Auto, Inherit),
            ([None, None, None], FullScreen, Auto, Inherit),
            ([other, one, one], FullScreen, Auto, Inherit),
            ([one, other, one], FullScreen, Always, Inherit),
            ([one, one, other], FullScreen, Always, Inherit),
            ([None, one, one], FullScreen, Always, Inherit),
            ([one, None, one], Lines, Always, Inherit),
            ([one, one, None], Lines, Always, Inherit),
            ([None, None, None], Lines, Always, Inherit),
        ];
        for (streams, interface, setting, mode) in table {
            let terminals = Terminals(streams);
            let chosen = LaunchMode::choose(&terminals, interface, setting);
            assert_eq!(chosen, mode, "{streams:?} {interface:?} {setting:?}");
        }
    }

    #[test]
    fn an_unknown_setting_is_auto() {
        let table = [("", Auto), ("auto", Auto), ("ALWAYS", Auto), ("always", Always), ("never", Never)];
        for (text, setting) in table {
            assert_eq!(PtySetting::from_text(Some(text)), setting, "{text}");
        }
        assert_eq!(PtySetting::from_text(None), Auto);
    }
}

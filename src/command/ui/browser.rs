//! The user's browser, if there is one.

use crate::base::world::World;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A program and its arguments, with the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Browser(Vec<OsString>);

impl Browser {
    /// The program in `$BROWSER`, with the address for `%s`, else the desktop's opener. None without a desktop: over
    /// ssh, or in a container.
    pub(super) fn choose(world: &World, address: &str, find: impl Fn(&str) -> bool) -> Option<Browser> {
        if let Some(browsers) = world.variables.text("BROWSER") {
            // Other programs try several in turn; this one takes the first.
            return words_of(browsers.split(':').next()?, address);
        }
        let has_desktop =
            ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| world.variables.os(name).is_some());
        let opener = match std::env::consts::OS {
            "macos" => "open",
            _ if has_desktop => "xdg-open",
            _ => return None,
        };
        find(opener).then(|| Browser(vec![opener.into(), address.into()]))
    }

    /// Whether it started. It gets its own process group, so that Ctrl-C does not end it.
    pub(super) fn open(&self) -> bool {
        let Browser(words) = self;
        let Some((program, words)) = words.split_first() else { return false };
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().inspect_err(|error| tracing::info!("cannot start {program:?}: {error}")).is_ok()
    }
}

fn words_of(command: &str, address: &str) -> Option<Browser> {
    let mut words: Vec<OsString> =
        command.split_whitespace().map(|word| word.replace("%s", address).into()).collect();
    words.first()?;
    if !words.iter().any(|word| word == OsStr::new(address)) {
        words.push(address.into());
    }
    Some(Browser(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::variables::Variables;

    #[test]
    fn the_browser_is_the_named_one_or_the_desktops() {
        let choose = |name: &str, value: &str, has_opener: bool| {
            let world = World { variables: Variables::from([(name, value)]), ..World::default() };
            Browser::choose(&world, "http://a", |_| has_opener)
        };
        let browser = |words: &[&str]| Some(Browser(words.iter().map(OsString::from).collect()));
        assert_eq!(choose("BROWSER", "firefox", false), browser(&["firefox", "http://a"]));
        assert_eq!(
            choose("BROWSER", "firefox --new %s:lynx", false),
            browser(&["firefox", "--new", "http://a"])
        );
        assert_eq!(choose("BROWSER", " ", true), None);
        if cfg!(target_os = "linux") {
            assert_eq!(choose("DISPLAY", ":0", true), browser(&["xdg-open", "http://a"]));
            assert_eq!(choose("WAYLAND_DISPLAY", "wayland-0", false), None);
            assert_eq!(choose("TERM", "xterm", true), None);
        }
    }
}

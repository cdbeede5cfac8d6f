//! The service that runs `mlflow watch`: its file, its text, and the commands that start and stop it. For systemd and for
//! launchd, without a look at the machine.

use crate::base::world::World;
use std::path::{Path, PathBuf};

/// In the first line of a file that codex-traced wrote. No hyphens: it is in an XML comment too.
pub(super) const MARK: &str = "Written by codex-traced mlflow watch";

/// The unit's name for systemd.
const UNIT: &str = "codex-traced-watch.service";

/// The service's name for launchd.
const LABEL: &str = "codex-traced.watch";

/// Seconds between a failure and the next start. A watch that finds tracing switched off fails too.
const RESTART_SECONDS: u32 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manager {
    Systemd,
    /// Of the user with this number.
    Launchd(u32),
}

/// What the service runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program<'p> {
    /// Of this executable, absolute.
    pub(super) path: &'p str,
    /// `CODEX_HOME`, if it is set.
    pub(super) codex_home: Option<&'p str>,
}

/// A program and its arguments.
pub(super) type Words = Vec<String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) file: PathBuf,
    pub(super) text: String,
    /// Makes the manager read its files again. Fails where the user has no manager. launchd needs no such command.
    pub(super) reload: Option<Words>,
    pub(super) start: Words,
    /// Starts a service that runs an older text.
    pub(super) restart: Words,
    pub(super) stop: Words,
}

impl Manager {
    /// The user's folder of services. None without a home folder.
    fn folder(self, world: &World) -> Option<PathBuf> {
        let home = world.home.as_ref()?;
        match self {
            Manager::Systemd => {
                let set = world.variables.os("XDG_CONFIG_HOME").map(PathBuf::from);
                // The specification of XDG: a relative path counts as unset.
                let config = set.filter(|path| path.is_absolute()).unwrap_or_else(|| home.join(".config"));
                Some(config.join("systemd/user"))
            }
            Manager::Launchd(_) => Some(home.join("Library/LaunchAgents")),
        }
    }

    /// None without a home folder.
    pub(super) fn service(self, program: Program, world: &World) -> Option<Service> {
        let folder = self.folder(world)?;
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Words>();
        Some(match self {
            Manager::Systemd => Service {
                file: folder.join(UNIT),
                text: systemd_unit(program),
                reload: Some(words("systemctl --user daemon-reload")),
                start: words(&format!("systemctl --user enable --now {UNIT}")),
                restart: words(&format!("systemctl --user restart {UNIT}")),
                stop: words(&format!("systemctl --user disable --now {UNIT}")),
            },
            Manager::Launchd(user) => {
                let file = folder.join(format!("{LABEL}.plist"));
                let mut start = words(&format!("launchctl bootstrap gui/{user}"));
                start.push(file.to_string_lossy().into_owned());
                Service {
                    text: launchd_plist(program),
                    reload: None,
                    start,
                    restart: words(&format!("launchctl kickstart -k gui/{user}/{LABEL}")),
                    stop: words(&format!("launchctl bootout gui/{user}/{LABEL}")),
                    file,
                }
            }
        })
    }
}

/// Whether codex-traced wrote the file.
pub(super) fn is_marked(text: &[u8]) -> bool {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    first.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

/// A command as a user types it.
pub(super) fn typed(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@".contains(c);
    let quoted = |word: &String| match word.chars().all(is_plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The output of `watch` has the beginnings of prompts, which more users than this one may read in the journal.
fn systemd_unit(program: Program) -> String {
    let home =
        program.codex_home.map(|home| format!("Environment={}\n", quoted(&format!("CODEX_HOME={home}"))));
    format!(
        "# {MARK}\n\
         [Unit]\n\
         Description=MLflow traces of Codex sessions that run without codex-traced\n\
         \n\
         [Service]\n\
         ExecStart={} mlflow watch\n\
         {}StandardOutput=null\n\
         Restart=on-failure\n\
         RestartSec={RESTART_SECONDS}\n\
         Nice=10\n\
         IOSchedulingClass=idle\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n",
        quoted(program.path),
        home.unwrap_or_default(),
    )
}

/// In double quotes, as systemd.syntax(7) has them; `%` begins a specifier.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%"))
}

fn launchd_plist(program: Program) -> String {
    let home = program.codex_home.map(|home| {
        format!(
            "\t<key>EnvironmentVariables</key>\n\t<dict>\n\t\t<key>CODEX_HOME</key>\n\t\t<string>{}</string>\n\t</dict>\n",
            xml(home)
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?> <!-- {MARK} -->\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n\
         <dict>\n\
         \t<key>Label</key>\n\
         \t<string>{LABEL}</string>\n\
         \t<key>ProgramArguments</key>\n\
         \t<array>\n\
         \t\t<string>{}</string>\n\
         \t\t<string>mlflow</string>\n\
         \t\t<string>watch</string>\n\
         \t</array>\n\
         {}\
         \t<key>RunAtLoad</key>\n\
         \t<true/>\n\
         \t<key>KeepAlive</key>\n\
         \t<dict>\n\
         \t\t<key>SuccessfulExit</key>\n\
         \t\t<false/>\n\
         \t</dict>\n\
         \t<key>ThrottleInterval</key>\n\
         \t<integer>{RESTART_SECONDS}</integer>\n\
         \t<key>ProcessType</key>\n\
         \t<string>Background</string>\n\
         \t<key>Nice</key>\n\
         \t<integer>10</integer>\n\
         \t<key>LowPriorityIO</key>\n\
         \t<true/>\n\
         </dict>\n\
         </plist>\n",
        xml(program.path),
        home.unwrap_or_default(),
    )
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A path that a service file can name: text without control characters.
pub(super) fn path_text(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program { path: "/opt/my bin/codex-traced", codex_home: None };

    fn world(config: Option<&str>) -> World {
        let variables = config.map(|config| ("XDG_CONFIG_HOME".to_owned(), config.to_owned()));
        World {
            home: Some("/home/ada".into()),
            variables: variables.into_iter().collect(),
            ..World::default()
        }
    }

    #[test]
    fn each_manager_has_its_file_and_its_commands() {
        let table = [
            (Manager::Systemd, None, "/home/ada/.config/systemd/user/codex-traced-watch.service"),
            (Manager::Systemd, Some("/c"), "/c/systemd/user/codex-traced-watch.service"),
            (Manager::Systemd, Some("c"), "/home/ada/.config/systemd/user/codex-traced-watch.service"),
            (Manager::Launchd(501), Some("/c"), "/home/ada/Library/LaunchAgents/codex-traced.watch.plist"),
        ];
        for (manager, config, file) in table {
            assert_eq!(
                manager.service(PROGRAM, &world(config)).unwrap().file,
                Path::new(file),
                "{manager:?}"
            );
        }
        let commands = |manager: Manager| {
            let service = manager.service(PROGRAM, &world(None)).unwrap();
            [service.start, service.restart, service.stop].map(|words| typed(&words))
        };
        assert_eq!(
            commands(Manager::Systemd),
            [
                "systemctl --user enable --now codex-traced-watch.service",
                "systemctl --user restart codex-traced-watch.service",
                "systemctl --user disable --now codex-traced-watch.service",
            ]
        );
        assert_eq!(
            commands(Manager::Launchd(501)),
            [
                "launchctl bootstrap gui/501 /home/ada/Library/LaunchAgents/codex-traced.watch.plist",
                "launchctl kickstart -k gui/501/codex-traced.watch",
                "launchctl bootout gui/501/codex-traced.watch",
            ]
        );
        assert_eq!(Manager::Systemd.service(PROGRAM, &World::default()), None);
    }

    #[test]
    fn the_texts_name_the_program_and_the_home_as_their_syntax_has_it() {
        let text = |manager: Manager, path: &str, codex_home: Option<&str>| {
            manager.service(Program { path, codex_home }, &world(None)).unwrap().text
        };
        let odd = r#"/a b/100%/"q"/c\d/&<>"#;
        let table = [
            (Manager::Systemd, "/b/x", None, "ExecStart=\"/b/x\" mlflow watch\nStandardOutput=null\n"),
            (Manager::Systemd, "/b/x", Some("/h"), "watch\nEnvironment=\"CODEX_HOME=/h\"\nStandardOutput"),
            (Manager::Systemd, odd, None, r#"ExecStart="/a b/100%%/\"q\"/c\\d/&<>" mlflow watch"#),
            (Manager::Systemd, "/b/x", Some(odd), r#"Environment="CODEX_HOME=/a b/100%%/\"q\"/c\\d/&<>""#),
            (
                Manager::Launchd(1),
                "/b/x",
                None,
                "<string>/b/x</string>\n\t\t<string>mlflow</string>\n\t\t<string>watch</string>",
            ),
            (Manager::Launchd(1), odd, None, "<string>/a b/100%/\"q\"/c\\d/&amp;&lt;&gt;</string>"),
            (Manager::Launchd(1), "/b/x", Some("/h&"), "<key>CODEX_HOME</key>\n\t\t<string>/h&amp;</string>"),
        ];
        for (manager, path, home, expected) in table {
            let text = text(manager, path, home);
            assert!(text.contains(expected), "{text}\nhas no\n{expected}");
            assert_eq!(text.contains("CODEX_HOME"), home.is_some(), "{text}");
        }
    }

    #[test]
    fn both_texts_restart_it_after_a_failure_and_give_it_a_low_priority() {
        let of = |manager: Manager| manager.service(PROGRAM, &world(None)).unwrap().text;
        for part in
            ["Restart=on-failure\n", "Nice=10\n", "IOSchedulingClass=idle\n", "WantedBy=default.target\n"]
        {
            assert!(of(Manager::Systemd).contains(part), "{part}");
        }
        for part in [
            "<key>SuccessfulExit</key>\n\t\t<false/>",
            "<key>Nice</key>\n\t<integer>10</integer>",
            "<key>LowPriorityIO</key>\n\t<true/>",
            "<key>RunAtLoad</key>\n\t<true/>",
        ] {
            assert!(of(Manager::Launchd(1)).contains(part), "{part}");
        }
    }

    #[test]
    fn a_file_is_known_by_the_mark_in_its_first_line() {
        for manager in [Manager::Systemd, Manager::Launchd(1)] {
            assert!(is_marked(manager.service(PROGRAM, &world(None)).unwrap().text.as_bytes()));
        }
        for text in ["", "[Unit]\n", "[Unit]\n# Written by codex-traced mlflow watch\n"] {
            assert!(!is_marked(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_command_can_be_typed_as_it_is_printed() {
        let table = [("systemctl", "systemctl"), ("/a b", "'/a b'"), ("it's", r"'it'\''s'")];
        for (word, expected) in table {
            assert_eq!(typed(&[word.to_owned()]), expected);
        }
    }

    #[test]
    fn a_path_with_a_line_feed_fits_in_no_service_file() {
        assert_eq!(path_text(Path::new("/a b%")), Some("/a b%"));
        assert_eq!(path_text(Path::new("/a\nb")), None);
    }
}

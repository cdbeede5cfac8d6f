//! Reads the interface's log while it is written: a nested interface may truncate it at any time.

use crate::codex::interface_log::{self, InterfaceLog, Logged};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};

#[derive(Debug)]
pub(super) struct InterfaceLogReader {
    log: InterfaceLog,
    /// A user's own log may contain lines of an earlier run.
    since: Timestamp,
    offset: u64,
}

impl InterfaceLogReader {
    pub(super) fn new(log: InterfaceLog, since: Timestamp) -> InterfaceLogReader {
        // The launcher's log has this launch's lines only, and a clock may go back.
        let since = if matches!(log, InterfaceLog::Launchers(_)) { Timestamp::MIN } else { since };
        InterfaceLogReader { log, since, offset: 0 }
    }

    /// Facts from the complete lines since the last call; none when there is no log.
    pub(super) fn look(&mut self) -> Vec<Logged> {
        self.read().unwrap_or_default()
    }

    fn read(&mut self) -> io::Result<Vec<Logged>> {
        // Opening a pipe would wait for its other end.
        if !fs::metadata(self.log.path())?.is_file() {
            return Ok(Vec::new());
        }
        let mut file = File::open(self.log.path())?;
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.offset += whole as u64;
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        let facts = lines.filter_map(interface_log::read).filter(|(at, _)| *at >= self.since);
        Ok(facts.map(|(_, logged)| logged).collect())
    }

    /// The last read; removes the launcher's own log, which contains prompts in clear.
    pub(super) fn end(&mut self) -> Vec<Logged> {
        let logged = self.look();
        if let InterfaceLog::Launchers(path) = &self.log {
            let _ = fs::remove_file(path);
        }
        logged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(at: &str, id: &str) -> String {
        format!(r#"{{"ts":"{at}","kind":"op","payload":{{"UserTurn":{{"client_user_message_id":"{id}"}}}}}}"#)
    }

    fn prompt(id: &str) -> Logged {
        Logged::Prompt { client_id: id.into() }
    }

    #[test]
    fn each_whole_line_is_reported_once_and_a_truncated_log_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let since = "2026-11-22T10:00:00Z".parse().unwrap();
        let mut follow = InterfaceLogReader::new(InterfaceLog::Launchers(path.clone()), since);
        assert_eq!(follow.look(), []);
        // The clock was set back after the launch began.
        let (one, two) = (line("2026-11-22T09:00:00Z", "one"), line("2026-11-22T10:00:02Z", "two"));
        fs::write(&path, format!("{one}\n{}", &two[..20])).unwrap();
        assert_eq!(follow.look(), [prompt("one")]);
        let mut file = File::options().append(true).open(&path).unwrap();
        writeln!(file, "{}", &two[20..]).unwrap();
        assert_eq!(follow.look(), [prompt("two")]);
        assert_eq!(follow.look(), []);
        fs::write(&path, format!("{}\n", line("2026-11-22T10:00:03Z", "three"))).unwrap();
        assert_eq!(follow.end(), [prompt("three")]);
        assert!(!path.exists());
    }

    #[test]
    fn a_users_log_stays_and_its_earlier_lines_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (old, new) = (line("2026-11-22T09:00:00Z", "old"), line("2026-11-22T10:00:01Z", "new"));
        fs::write(&path, format!("{old}\n{new}\n")).unwrap();
        let since = "2026-11-22T10:00:00Z".parse().unwrap();
        assert_eq!(InterfaceLogReader::new(InterfaceLog::Users(path.clone()), since).end(), [prompt("new")]);
        assert!(path.exists());
    }
}

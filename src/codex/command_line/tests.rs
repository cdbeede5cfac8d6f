//! What each form of a command line is taken for.

use super::*;
use Interface::{FullScreen, Lines};

const THREAD: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";

fn parse(line: &str) -> CommandLine {
    let args: Vec<OsString> = line.split_whitespace().map(|word| word.replace("ID", THREAD).into()).collect();
    CommandLine::parse(&args, Some(Path::new("/w")))
}

#[test]
fn only_commands_known_to_write_no_session_are_not_traced() {
    let table = [
        ("", true),
        ("write a parser", true),
        ("exec", true),
        ("e --json go", true),
        ("exec resume 01a2 go", true),
        ("exec login", true),
        ("review --uncommitted", true),
        ("resume --last", true),
        ("fork", true),
        ("agents", true),
        ("a-new-command", true),
        ("-- login", true),
        ("exec -- --help", true),
        ("-c login exec go", true),
        ("-i a.png login", true),
        ("-m gpt-5.5 login", false),
        ("--model=gpt-5.5 login", false),
        ("--version", false),
        ("-V", false),
        ("exec --help", false),
        ("login status", false),
        ("mcp list", false),
        ("app-server", true),
        ("app-server --listen stdio://", true),
        ("app-server --listen=unix:///run/x.sock", true),
        ("-c a=b --config c=d app-server --listen ws://127.0.0.1:0 --ws-auth capability-token", true),
        ("app-server --listen unix:// --analytics-default-enabled", true),
        ("app-server --listen unix:// --analytics-default-enabled --managed-daemon", false),
        ("app-server --listen off proxy", false),
        ("app-server --help", false),
        ("app-server daemon start", false),
        ("-c a=b app-server generate-ts --out x", false),
        ("remote-control --no-daemon --json", true),
        ("remote-control start --json", false),
        ("mcp-server -c a=b", true),
        ("exec-server --listen stdio", false),
        ("--remote ws://host:1 go", false),
        ("--remote=ws://host:1", false),
        ("exec --remote wss://host:1 go", false),
        ("exec --remote", false),
        ("--remote unix:// go", true),
        ("exec --remote=ws://127.0.0.1:1 go", true),
        ("-i a.png --remote ws://host:1", false),
    ];
    for (line, may_write_session) in table {
        assert_eq!(parse(line).may_write_session, may_write_session, "codex {line}");
    }
}

#[test]
fn all_but_exec_review_and_servers_take_the_screen() {
    let table = [
        ("", true),
        ("hello", true),
        ("write exec", true),
        ("resume --last", true),
        ("resume exec", true),
        ("fork", true),
        ("agents", true),
        ("a-new-command", true),
        ("-", true),
        ("-- exec", true),
        ("-i a.png exec", true),
        ("-m exec", true),
        ("--search go", true),
        ("exec", false),
        ("e go", false),
        ("review --uncommitted", false),
        ("exec resume --last", false),
        ("-m gpt-5.5 exec go", false),
        ("--model=gpt-5.5 exec", false),
        ("--search -c a=b review", false),
        ("app-server", false),
        ("mcp-server", false),
    ];
    for (line, is_full_screen) in table {
        let interface = if is_full_screen { FullScreen } else { Lines };
        assert_eq!(parse(line).request.interface, interface, "codex {line}");
    }
    let prompt = CommandLine::parse(&["exec this for me".into()], None);
    assert_eq!(prompt.request.interface, FullScreen);
}

#[test]
fn a_prompt_that_holds_spaces_is_no_command() {
    for args in [&["login to the server"][..], &["exec", "explain --help"]] {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        assert!(CommandLine::parse(&args, None).may_write_session, "{args:?}");
    }
}

#[test]
fn only_the_first_word_names_an_own_command() {
    let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
    assert_eq!(own_command(&words("mlflow show --last")), Some(&words("show --last")[..]));
    assert_eq!(own_command(&words("exec mlflow")), None);
    assert_eq!(own_command(&[]), None);
}

#[test]
fn a_command_line_names_folder_and_thread() {
    let table = [
        ("", FullScreen, "/w", false),
        ("exec go", Lines, "/w", false),
        ("-C sub exec go", Lines, "/w/sub", false),
        ("exec --cd /other go", Lines, "/other", false),
        ("--cd=/other", FullScreen, "/other", false),
        ("resume ID", FullScreen, "/w", true),
        ("-m gpt-5.5 resume --all ID go", FullScreen, "/w", true),
        ("exec --json resume -m x ID go", Lines, "/w", true),
        ("e resume ID", Lines, "/w", true),
        ("resume --last", FullScreen, "/w", false),
        // A new thread.
        ("fork ID", FullScreen, "/w", false),
        ("exec fork ID go", Lines, "/w", false),
        ("exec --ephemeral go", Lines, "/w", false),
        ("exec explain ID", Lines, "/w", false),
        ("-- resume ID", FullScreen, "/w", false),
        ("-C sub app-server --listen stdio://", Lines, "/w/sub", false),
    ];
    for (line, interface, folder, is_named) in table {
        let thread = is_named.then(|| ThreadId::parse(THREAD).unwrap());
        let is_ephemeral = line.contains("--ephemeral");
        let is_server = line.contains("app-server");
        let folder = Some(folder.into());
        let expected = SessionRequest { interface, folder, thread, is_ephemeral, is_server, remote: None };
        assert_eq!(parse(line).request, expected, "codex {line}");
    }
}

#[test]
fn a_command_line_names_the_app_server_that_writes_its_sessions() {
    let table = [
        ("--remote unix://", FullScreen, RemoteAddress::ControlSocket),
        ("--remote=unix://sub/a.sock resume", FullScreen, RemoteAddress::Socket("/w/sub/a.sock".into())),
        ("exec --remote ws://127.0.0.1:4500 go", Lines, RemoteAddress::Port(4500)),
        ("--remote ws://[::1]:4500 exec go", Lines, RemoteAddress::Port(4500)),
        ("-i a.png --remote unix://", FullScreen, RemoteAddress::ControlSocket),
    ];
    for (line, interface, address) in table {
        let request = parse(line).request;
        assert_eq!(
            (request.interface, request.remote.as_deref()),
            (interface, Some(&address)),
            "codex {line}"
        );
    }
    let value = serde_json::to_value(parse("exec --remote ws://localhost:1 go").request).unwrap();
    assert_eq!(value["remote"], serde_json::json!({"port": 1}));
}

#[test]
fn each_interface_has_its_own_originators() {
    let table = [
        ("codex-tui", [true, false, false]),
        ("codex_exec", [false, true, false]),
        ("codex_cli_rs", [true, true, true]),
        ("codex_vscode", [false, false, true]),
    ];
    for (originator, expected) in table {
        let has = ["", "exec", "app-server"].map(|line| parse(line).request.has_originator(originator));
        assert_eq!(has, expected, "{originator}");
    }
}

#[test]
fn images_take_the_words_after_them() {
    let line = parse("-i a.png resume ID -C sub --ephemeral");
    let folder = Some("/w".into());
    assert_eq!(line.request, SessionRequest { folder, ..SessionRequest::default() });
    assert!(line.may_write_session && !parse("-i a.png --help").may_write_session);
}

#[test]
fn the_form_on_disk_is_that_of_0_1() {
    let json = r#"{"front":"lines","folder":"/w","thread":null,"is_ephemeral":false}"#;
    assert_eq!(serde_json::to_string(&parse("exec go").request).unwrap(), json);
    assert_eq!(serde_json::to_value(SessionRequest::default()).unwrap()["front"], "screen");
    assert_eq!(serde_json::from_str::<SessionRequest>(json).unwrap(), parse("exec go").request);
    let server = serde_json::to_string(&parse("app-server").request).unwrap();
    assert_eq!(server, json.replace('}', r#","is_server":true}"#));
    assert_eq!(serde_json::from_str::<SessionRequest>(&server).unwrap(), parse("app-server").request);
}

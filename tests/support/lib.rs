//! What the tests use: a scripted model server, the real Codex in a home of its own, the real MLflow.
//!
//! ```ignore
//! let Some(codex) = codex() else { return };
//! let server = ModelServer::start(
//!     Script::new()
//!         .reply(Reply::new().reasoning("**Plan** list").call("exec_command", json!({"cmd": "ls"})).usage(9000, 4096, 120, 64))
//!         .reply(Reply::new().answer("done").usage(9200, 9000, 5, 0)),
//! );
//! let home = Home::new(&server.url());
//! let outcome = run(home.command(&codex.native).args(["exec", "do it"])).ended(End::Code(0));
//! assert_eq!(outcome.stdout, "done\n");
//! server.assert_script_used_up_exactly();
//! assert_eq!(Recorded::read(&home.rollout()).usage_each(), server.reported_each());
//! ```
//!
//! Everything stays on 127.0.0.1 and in temporary folders, but for the real parts, which are fetched once into the
//! target folder (`real`).

pub mod authority;
mod daemon_release;
pub mod databricks;
mod ending;
pub mod executable;
mod expectation;
pub mod facts;
pub mod fault_proxy;
pub mod front;
pub mod gate;
pub mod held_thread;
pub mod home;
pub mod installers;
pub mod json_rpc;
mod listener;
pub mod many;
pub mod mlflow_server;
pub mod model_server;
pub mod normalise;
pub mod oracle;
mod parallel;
pub mod phoenix;
pub mod picky;
#[cfg(target_os = "linux")]
pub mod probe;
pub mod processes;
mod python_server;
pub mod real;
pub mod recorded;
pub mod run;
pub mod scenarios;
pub mod script;
pub mod terminal;
pub mod tmux;
pub mod web_server;
mod wire;

pub use authority::{Authority, Clients};
pub use databricks::Databricks;
pub use ending::Ending;
pub use executable::{copy_program, write_program};
pub use facts::assert_facts;
pub use fault_proxy::{Fault, FaultProxy};
pub use front::{Front, Seen};
pub use gate::Gate;
pub use held_thread::HOLD;
pub use home::Home;
pub use json_rpc::{JsonRpc, assert_messages_of_plain, normalised_messages};
pub use mlflow_server::{MlflowServer, ServerOptions};
pub use model_server::ModelServer;
pub use normalise::normalised;
pub use oracle::{Oracle, Span, Trace, TrackingUri, Verb};
pub use parallel::each_in_parallel;
pub use phoenix::Phoenix;
pub use picky::{Dislike, PickyServer};
pub use real::{Codex, codex, mlflow, node_that_replaces_itself, older_codex};
pub use recorded::Recorded;
pub use run::{End, Outcome, Running, kill_all, run, run_with_input, start, wait_for};
pub use script::{Item, Reply, Script, Usage};
pub use terminal::Terminal;
pub use tmux::Tmux;
pub use web_server::{Answered, Asked, WebServer};

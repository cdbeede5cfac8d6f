//! `mlflow show --follow`: the tree of a session while Codex writes it, from its session files.

mod ended;
mod life;
mod live_session;
mod output;
mod pacing;
mod screen;
mod state_line;
mod subject;

use super::CommandError;
use super::tree::is_running;
use crate::base::world::World;
use crate::cli::Show;
use crate::finish::context::Context;
use codex_session::rollout::file_changes::Changes;
use codex_session::session::Writer;
use jiff::Timestamp;
use launch::exit::ChildExit;
use launch::signals::SignalPipe;
use life::SessionLife;
use live_session::{LiveSession, View};
use mlflow_store::trace::TraceState;
use nix::libc::SIGINT;
use output::{Output, Scene};
use pacing::Pacing;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;
use subject::{Newest, Subject};

const NOTHING_RUNS: &str = "no session runs\n  hint: start one (`codex-traced \"…\"`), or name one that is over: `codex-traced mlflow show ID`";

const NO_SESSION: &str =
    "the launch ended and left no session\n  hint: `codex-traced mlflow show` shows the newest trace";

/// Why following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Session,
    /// By Ctrl-C or another signal.
    User,
    /// The reader of stdout is gone.
    Reader,
}

/// Why following failed.
enum Failure {
    Output,
    Command(CommandError),
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Failure {
        Failure::Output
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        Failure::Command(error)
    }
}

pub(super) fn run(show: &Show, world: &World) -> Result<ChildExit, CommandError> {
    let context = super::context(world)?;
    // Before the first look, so that no change is missed.
    let mut changes = Changes::begin(context.home().path());
    let output = Output::choose(world).map_err(|error| error.to_string())?;
    let signals = output.signals().map_err(|error| error.to_string())?;
    let subject = match &show.what {
        Some(what) => Some(Subject::named(what, &context.paths)?),
        None => match subject::newest(&context.paths) {
            Newest::Session(thread) => Some(Subject::Thread(thread)),
            Newest::Awaited => None,
            Newest::None => return Err(NOTHING_RUNS.into()),
        },
    };
    let followed = subject.map(|subject| Followed::new(subject, &context));
    let mut follower = Follower { context: &context, followed, output, pacing: Pacing::new(Instant::now()) };
    let ending = follower.follow(&mut changes, &signals);
    // Before an error is printed.
    drop(follower);
    match ending {
        Ok(Ending::User) => Ok(ChildExit::Signal(SIGINT)),
        Ok(Ending::Session | Ending::Reader) | Err(Failure::Output) => Ok(ChildExit::Code(0)),
        Err(Failure::Command(error)) => Err(error),
    }
}

/// A session with what is known of it.
struct Followed<'a> {
    session: LiveSession<'a>,
    life: SessionLife,
    view: Option<View>,
}

impl<'a> Followed<'a> {
    fn new(subject: Subject, context: &'a Context<'a>) -> Followed<'a> {
        let life = SessionLife::new(subject.thread().clone(), context.paths.clone());
        Followed { session: LiveSession::new(subject, context), life, view: None }
    }

    fn read(&mut self) -> Result<(), CommandError> {
        // A lock may be invisible; a launch that runs is not.
        let writer = self.life.has_launch().then_some(Writer::Alive);
        self.view = self.session.read(writer)?;
        Ok(())
    }

    fn is_over(&mut self) -> bool {
        let state = self.view.as_ref().map(|view| view.trace.state);
        self.life.is_over(state == Some(TraceState::InProgress))
    }

    fn has_running_spans(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.trace.spans.iter().any(is_running))
    }
}

struct Follower<'a> {
    context: &'a Context<'a>,
    /// None while a launch has no session yet.
    followed: Option<Followed<'a>>,
    output: Output,
    pacing: Pacing,
}

impl Follower<'_> {
    fn follow(&mut self, changes: &mut Changes, signals: &SignalPipe) -> Result<Ending, Failure> {
        loop {
            if self.advance()? {
                return Ok(Ending::Session);
            }
            let patience = self.pacing.patience(Instant::now(), self.ticks());
            changes.wait(std::iter::once(signals.as_fd()).chain(self.output.wakes()), patience);
            let requests = signals.requests();
            if requests.to_end {
                // The signal decides, also where the terminal is gone.
                let _ = self.output.interrupt(scene(self.followed.as_ref()));
                return Ok(Ending::User);
            }
            if requests.to_stop {
                self.output.stop(signals);
                self.pacing.window_changed();
            }
            if self.output.is_closed() {
                return Ok(Ending::Reader);
            }
            if self.output.is_resized() {
                self.pacing.window_changed();
            }
            let written = changes.take();
            let is_ours = match &mut self.followed {
                Some(followed) => followed.session.has_changed(&written),
                None => !written.is_empty(),
            };
            if is_ours {
                self.pacing.files_changed();
            }
        }
    }

    /// Does what is due. True when the session is over, and its end is shown.
    fn advance(&mut self) -> Result<bool, Failure> {
        let begun = Instant::now();
        let due = self.pacing.due(begun, self.ticks());
        let is_sought = self.followed.is_none() && (due.reading || due.question);
        if is_sought {
            self.followed = match subject::newest(&self.context.paths) {
                Newest::Session(thread) => Some(Followed::new(Subject::Thread(thread), self.context)),
                Newest::Awaited => None,
                Newest::None => return Err(Failure::Command(NO_SESSION.into())),
            };
        }
        if let Some(followed) = &mut self.followed {
            if due.reading || is_sought {
                followed.read()?;
            }
            if due.question {
                let asked = Instant::now();
                if followed.is_over() {
                    // Codex wrote its last lines before it ended, and maybe after they were read.
                    followed.read()?;
                    self.output.end(scene(self.followed.as_ref()))?;
                    return Ok(true);
                }
                self.pacing.asked(asked, Instant::now());
            }
        } else if due.question {
            self.pacing.asked(begun, Instant::now());
        }
        if due.picture {
            self.output.show(scene(self.followed.as_ref()))?;
            self.pacing.shown(begun, Instant::now());
        }
        Ok(false)
    }

    /// Whether the picture shows the seconds of something that runs.
    fn ticks(&self) -> bool {
        self.output.shows_seconds() && self.followed.as_ref().is_some_and(Followed::has_running_spans)
    }
}

fn scene<'s>(followed: Option<&'s Followed>) -> Scene<'s> {
    Scene {
        thread: followed.map(|followed| followed.session.thread()),
        view: followed.and_then(|followed| followed.view.as_ref()),
        now: Timestamp::now(),
    }
}

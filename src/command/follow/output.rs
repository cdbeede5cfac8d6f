//! Where a followed session is shown: redrawn on a terminal, else appended line by line.

use super::ended::{EndedSpans, clock};
use super::live_session::View;
use super::screen::{self, Screen, Size};
use super::state_line;
use crate::base::world::World;
use crate::command::text_layout::Colours;
use crate::command::tree::{self, TreeStyle};
use codex_session::thread::ThreadId;
use common::printable::clean;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use launch::signals::SignalPipe;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

pub(super) struct Output {
    /// Unbuffered: what is written is seen at once.
    stdout: File,
    colours: Colours,
    form: Form,
}

enum Form {
    /// With the size of the last picture. None before the first one.
    Screen(Option<(Screen, Size)>),
    Lines(EndedSpans),
}

/// What there is to show. No thread while a launch has no session yet.
#[derive(Clone, Copy)]
pub(super) struct Scene<'s> {
    pub(super) thread: Option<&'s ThreadId>,
    pub(super) view: Option<&'s View>,
    pub(super) now: Timestamp,
}

impl Output {
    pub(super) fn choose(world: &World) -> io::Result<Output> {
        let is_dumb = world.variables.os("TERM").is_some_and(|term| term == "dumb");
        let form = match world.stdout_is_terminal && !is_dumb {
            true => Form::Screen(None),
            false => Form::Lines(EndedSpans::default()),
        };
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Output { stdout, colours: Colours::choose(world), form })
    }

    pub(super) fn signals(&self) -> io::Result<SignalPipe> {
        match self.form {
            Form::Screen(_) => SignalPipe::with_screen_signals(),
            Form::Lines(_) => SignalPipe::with_ending_signals(),
        }
    }

    /// A pipe, which wakes its writer when its reader ends.
    pub(super) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        let kind = fstat(&self.stdout).ok()?.st_mode & SFlag::S_IFMT.bits();
        (kind == SFlag::S_IFIFO.bits()).then(|| self.stdout.as_fd())
    }

    /// Whether nothing reads stdout any more.
    pub(super) fn is_closed(&self) -> bool {
        let mut stdout = [PollFd::new(self.stdout.as_fd(), PollFlags::empty())];
        let answers = poll(&mut stdout, PollTimeout::ZERO);
        let failed = PollFlags::POLLERR | PollFlags::POLLHUP;
        answers.is_ok() && stdout[0].revents().is_some_and(|events| events.intersects(failed))
    }

    /// Whether the picture shows the seconds of what runs.
    pub(super) fn shows_seconds(&self) -> bool {
        matches!(self.form, Form::Screen(_))
    }

    pub(super) fn is_resized(&self) -> bool {
        matches!(&self.form, Form::Screen(Some((_, size))) if *size != Size::of_terminal())
    }

    pub(super) fn show(&mut self, scene: Scene) -> io::Result<()> {
        match &mut self.form {
            Form::Screen(shown) => {
                let size = Size::of_terminal();
                let screen = match shown.take() {
                    Some((screen, _)) => screen,
                    None => Screen::enter(self.stdout.try_clone()?)?,
                };
                let (screen, _) = shown.insert((screen, size));
                screen.draw(&screen::rows(scene, size, self.colours))
            }
            Form::Lines(printed) => {
                let Some(view) = scene.view else { return Ok(()) };
                let new = printed.take(view, TreeStyle::of_a_stored_trace(self.colours));
                if new.is_empty() { Ok(()) } else { self.print(&new.join("\n")) }
            }
        }
    }

    /// The whole tree of a session that is over; in lines, those that are left and the final state.
    pub(super) fn end(&mut self, scene: Scene) -> io::Result<()> {
        if let (Form::Screen(_), Some(View { trace, rollout, .. })) = (&self.form, scene.view) {
            self.leave();
            let tree = tree::render(trace, TreeStyle::of_a_stored_trace(self.colours));
            let from = clean(format!("session file {}", rollout.display()));
            return self.print(&format!("{tree}\n{} in {from}", trace.id));
        }
        if let Form::Lines(_) = self.form {
            self.show(scene)?;
        }
        self.leave();
        self.print_state(scene, None)
    }

    /// The user ended it: the state stays.
    pub(super) fn interrupt(&mut self, scene: Scene) -> io::Result<()> {
        self.leave();
        self.print_state(scene, Some(scene.now))
    }

    /// Gives the terminal back to the shell until the user continues this process.
    pub(super) fn stop(&mut self, signals: &SignalPipe) {
        self.leave();
        signals.stop();
    }

    fn leave(&mut self) {
        match &mut self.form {
            Form::Screen(shown) => *shown = None,
            Form::Lines(_) => {}
        }
    }

    fn print_state(&mut self, scene: Scene, now: Option<Timestamp>) -> io::Result<()> {
        let facts = state_line::facts(scene.thread, scene.view, now, self.colours);
        match self.form {
            Form::Screen(_) => self.print(&state_line::lines(&facts, Size::of_terminal().columns).join("\n")),
            Form::Lines(_) => {
                let at = clock(scene.view.map_or(scene.now, |view| view.trace.ended_at), &TimeZone::system());
                self.print(&format!("{at}  {}", state_line::lines(&facts, usize::MAX).join("\n")))
            }
        }
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(format!("{text}\n").as_bytes())
    }
}

//! A thread that may hang without anybody else hanging with it.
//!
//! A call into a driver can block for ever when a card is off the bus. Each such call is made by a
//! thread of its own, and whoever asks waits a bounded time.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

/// One thread that answers one question at a time.
#[derive(Debug)]
pub struct Worker<Q, A> {
    questions: SyncSender<Q>,
    answers: Receiver<A>,
    /// A question that was not answered in time: nothing is asked before it is.
    is_late: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It did not come in time, or that of an earlier question is still to come.
    Late,
    /// The thread is gone.
    Gone,
}

impl<Q: Send + 'static, A: Send + 'static> Worker<Q, A> {
    /// Starts the thread; it ends with the worker, or after the call that it hangs in.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(name: &str, mut answer: impl FnMut(Q) -> A + Send + 'static) -> io::Result<Self> {
        let (questions, to_answer) = sync_channel(1);
        let (answered, answers) = sync_channel(1);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(question) = to_answer.recv() {
                if answered.send(answer(question)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, answers, is_late: false })
    }

    /// Asks, if the last question was answered; [`Self::wait`] gives the answer.
    ///
    /// # Errors
    /// Nothing was asked.
    pub fn ask(&mut self, question: Q) -> Result<(), Silence> {
        if self.is_late {
            match self.answers.try_recv() {
                // It is of the past.
                Ok(_late) => self.is_late = false,
                Err(TryRecvError::Empty) => return Err(Silence::Late),
                Err(TryRecvError::Disconnected) => return Err(Silence::Gone),
            }
        }
        self.questions.send(question).map_err(|_| Silence::Gone)
    }

    /// The answer, or why there is none.
    ///
    /// # Errors
    /// None came in time, or none will.
    pub fn wait(&mut self, most: Duration) -> Result<A, Silence> {
        use std::sync::mpsc::RecvTimeoutError;
        self.answers.recv_timeout(most).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                self.is_late = true;
                Silence::Late
            }
            RecvTimeoutError::Disconnected => Silence::Gone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hangs_is_not_asked_again_before_it_answered() {
        let (go, wait_for) = sync_channel::<()>(0);
        let mut worker = Worker::start("test", move |question: u32| {
            if question == 1 {
                wait_for.recv().expect("let go");
            }
            question
        })
        .expect("a thread");
        worker.ask(1).expect("asked");
        assert_eq!(worker.wait(Duration::from_millis(5)), Err(Silence::Late));
        assert_eq!(worker.ask(2), Err(Silence::Late));
        go.send(()).expect("it waits");
        // The late answer is on its way; then the worker takes questions again.
        while worker.ask(3) == Err(Silence::Late) {
            std::thread::yield_now();
        }
        assert_eq!(worker.wait(Duration::from_secs(10)), Ok(3));
    }
}

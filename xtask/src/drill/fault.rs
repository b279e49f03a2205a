//! What can fail in a drill, and what it is an excuse for.

use std::time::Duration;

use anyhow::{Result, bail};
use outrigger_sim::drill::judge::Excuse;
use outrigger_sim::drill::names::Health;
use outrigger_sim::receiver::Answer;
use tokio::time::{Instant, sleep};

use super::stage::Stage;

/// A part that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Connections to the API server are cut and refused.
    ApiServer,
    /// The name server does not answer.
    Dns,
    /// Every master's config centre is out of reach of the workers, and every member of etcd is killed.
    Centre,
    /// One member of etcd is killed.
    EtcdMember,
    /// The receiver closes connections, then hangs, then refuses with 503.
    Receiver,
    /// The leading master is killed.
    ActiveMaster,
    /// A master that does not lead is killed.
    Standby,
    /// A worker is killed.
    OneWorker,
    /// All workers are ended at the same time and started again.
    AllWorkersRestarted,
    /// All workers and masters are ended, every member of etcd is killed, and all are started again.
    EverythingRestarted,
}

impl Fault {
    /// Every fault, in the order of the table.
    pub const ALL: [Fault; 10] = [
        Fault::ApiServer,
        Fault::Dns,
        Fault::Centre,
        Fault::EtcdMember,
        Fault::Receiver,
        Fault::ActiveMaster,
        Fault::Standby,
        Fault::OneWorker,
        Fault::AllWorkersRestarted,
        Fault::EverythingRestarted,
    ];

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::ApiServer => "api-server",
            Fault::Dns => "dns",
            Fault::Centre => "centre",
            Fault::EtcdMember => "etcd-member",
            Fault::Receiver => "receiver",
            Fault::ActiveMaster => "active-master",
            Fault::Standby => "standby",
            Fault::OneWorker => "one-worker",
            Fault::AllWorkersRestarted => "all-workers-restarted",
            Fault::EverythingRestarted => "everything-restarted",
        }
    }

    /// The fault of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self> {
        let known = Fault::ALL.into_iter().find(|fault| fault.name() == name);
        let Some(fault) = known else {
            let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            bail!("`{name}` is no fault: choose among {}", names.join(", "))
        };
        Ok(fault)
    }
}

/// Faults at the same time: one or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combination(pub Vec<Fault>);

impl Combination {
    /// Names joined by `+`.
    ///
    /// # Errors
    /// When a name is not known.
    pub fn parse(text: &str) -> Result<Self> {
        text.split('+').map(|name| Fault::parse(name.trim())).collect::<Result<_>>().map(Self)
    }

    /// Every fault alone, and every two of them.
    pub fn all() -> Vec<Self> {
        let alone = Fault::ALL.into_iter().map(|fault| Self(vec![fault]));
        let pairs = Fault::ALL.into_iter().enumerate().flat_map(|(place, first)| {
            Fault::ALL.into_iter().skip(place + 1).map(move |second| Self(vec![first, second]))
        });
        alone.chain(pairs).collect()
    }

    /// The names, joined by `+`.
    pub fn name(&self) -> String {
        self.0.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(" + ")
    }
}

/// What is failing just now.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Counts the combinations, so that each takes another member, worker and kind of failure.
    pub(super) turn: usize,
    /// Killed workers: of each one's targets the scrapes of one interval and a lease may be missing.
    killed: Vec<Excuse>,
}

impl Stage {
    /// Lets one of a combination's faults begin.
    pub(super) async fn begin(&mut self, fault: Fault, course: &mut Course) -> Result<()> {
        let turn = course.turn;
        match fault {
            Fault::ApiServer => self.api.close(),
            Fault::Dns => {
                let health = if turn.is_multiple_of(2) { Health::Silent } else { Health::Failing };
                self.names.iter().for_each(|names| names.health(health));
            }
            Fault::Centre => {
                self.centres.iter().for_each(crate::rig::Forwarder::close);
                for member in 0..self.etcd.len() {
                    self.etcd.kill(member).await?;
                }
            }
            Fault::EtcdMember => self.etcd.kill(turn % self.etcd.len()).await?,
            Fault::Receiver => self.receiver.answer(receiver_answer(turn)),
            Fault::ActiveMaster => match self.leader().await {
                Some(leader) => self.masters[leader].kill().await?,
                // The other fault of the pair has taken it away already.
                None => self.masters[0].kill().await?,
            },
            Fault::Standby => {
                let leader = self.leader().await.unwrap_or(0);
                if let Some(standby) = (0..self.masters.len()).find(|index| *index != leader) {
                    self.masters[standby].kill().await?;
                }
            }
            Fault::OneWorker => {
                let worker = turn % self.workers.len();
                let targets = self.workers[worker].targets().await?;
                self.workers[worker].kill().await?;
                let allowance = self.scale.interval + self.scale.lease;
                course.killed.push(Excuse { targets, at: self.targets.now(), allowance });
            }
            Fault::AllWorkersRestarted => self.restart(false).await?,
            Fault::EverythingRestarted => self.restart(true).await?,
        }
        Ok(())
    }

    /// Changes how what fails fails, in the middle of it.
    pub(super) fn change(&self, of: &Combination, course: &Course) {
        if of.0.contains(&Fault::Receiver) {
            self.receiver.answer(receiver_answer(course.turn + 1));
        }
    }

    /// Ends workers, and masters and etcd where `everything` is said, at the same time, and starts them again. What
    /// does not run stays as it is.
    async fn restart(&mut self, everything: bool) -> Result<()> {
        let mut ids = Vec::new();
        let mut again = Vec::new();
        let masters = self.masters.iter_mut().filter(|_| everything);
        for process in self.workers.iter_mut().chain(masters) {
            if let Some(id) = process.id() {
                ids.push(id);
                again.push(process);
            }
        }
        futures_util::future::try_join_all(ids.into_iter().map(crate::rig::ProcessId::end)).await?;
        if everything {
            let mut running = Vec::new();
            for member in 0..self.etcd.len() {
                if self.etcd.runs(member) {
                    self.etcd.kill(member).await?;
                    running.push(member);
                }
            }
            self.etcd.start_members(&running)?;
        }
        for process in &mut again {
            process.start()?;
        }
        for process in &again {
            process.ready().await?;
        }
        Ok(())
    }

    /// Ends every fault of a combination, and waits until someone leads again. Adds what it was an excuse for.
    pub(super) async fn heal(
        &mut self,
        of: &Combination,
        course: &mut Course,
        excuses: &mut Vec<Excuse>,
    ) -> Result<()> {
        self.api.open();
        self.names.iter().for_each(|names| names.health(Health::Well));
        self.receiver.answer(Answer::Accept);
        self.centres.iter().for_each(crate::rig::Forwarder::open);
        self.etcd.start_missing()?;
        self.etcd.wait().await?;
        for process in self.masters.iter_mut().chain(&mut self.workers) {
            process.start()?;
        }
        for process in self.masters.iter().chain(&self.workers) {
            process.ready().await?;
        }
        let deadline = Instant::now() + self.scale.lease * 6;
        while self.leader().await.is_none() {
            if Instant::now() > deadline {
                bail!("nobody leads {:?} after {}", self.scale.lease * 6, of.name());
            }
            sleep(Duration::from_millis(100)).await;
        }
        excuses.append(&mut course.killed);
        Ok(())
    }
}

fn receiver_answer(turn: usize) -> Answer {
    match turn % 3 {
        0 => Answer::Away,
        1 => Answer::Hang,
        _ => Answer::Refuse(http::StatusCode::SERVICE_UNAVAILABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_has_every_fault_alone_and_every_two() {
        let all = Combination::all();
        assert_eq!(all.len(), 10 + 45);
        assert!(all.iter().all(|one| Combination::parse(&one.name()).is_ok_and(|read| read == *one)));
        assert!(Combination::parse("dns+nonsense").is_err());
    }
}

//! The best host for one kind of task, kept while hosts change: a tournament.

/// Lost by a host that cannot take the task: worse than any other.
const NEVER: u32 = u32::MAX;

/// What placing a task of one kind would cost on each host, and the hosts to be scored again.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// Leaves of the tournament; a power of two.
    width: usize,
    /// Node 1 is the final; node `n` is won by the lesser of nodes `2n` and `2n + 1`.
    losses: Vec<u32>,
    /// Hosts that changed, each once: the hosts' own bits see to that.
    pub stale: Vec<usize>,
}

impl Index {
    /// Of so many hosts, none of which can take the task.
    pub fn new(hosts: usize) -> Self {
        let width = hosts.next_power_of_two();
        Self { width, losses: vec![NEVER; 2 * width], stale: Vec::new() }
    }

    /// Remembers what the task would cost on this host; nothing if it cannot take it.
    pub fn set(&mut self, host: usize, loss: Option<u32>) {
        let mut node = self.width + host;
        let mut best = loss.map_or(NEVER, |loss| loss.min(NEVER - 1));
        while let Some(old) = self.losses.get_mut(node) {
            if *old == best {
                return;
            }
            *old = best;
            if node <= 1 {
                return;
            }
            best = best.min(self.losses.get(node ^ 1).copied().unwrap_or(NEVER));
            node /= 2;
        }
    }

    /// The host where the task costs least, the first of equals.
    pub fn best(&self) -> Option<usize> {
        let least = *self.losses.get(1)?;
        if least == NEVER {
            return None;
        }
        let mut node = 1;
        while node < self.width {
            node *= 2;
            if self.losses.get(node) != Some(&least) {
                node += 1;
            }
        }
        Some(node - self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_wins_and_the_first_of_equals() {
        let mut index = Index::new(5);
        assert_eq!(index.best(), None);
        for (host, loss) in [(4, 7), (1, 9), (3, 7)] {
            index.set(host, Some(loss));
        }
        assert_eq!(index.best(), Some(3));
        index.set(3, None);
        assert_eq!(index.best(), Some(4));
        index.set(0, Some(0));
        assert_eq!(index.best(), Some(0));
        for host in 0..5 {
            index.set(host, None);
        }
        assert_eq!(index.best(), None);
    }

    #[test]
    fn one_host_and_none() {
        let mut index = Index::new(1);
        index.set(0, Some(u32::MAX));
        assert_eq!(index.best(), Some(0), "however dear, it can take the task");
        assert_eq!(Index::new(0).best(), None);
    }
}

//! How many jobs of a lane may run at once.

use std::collections::BTreeMap;

use super::queue::Kind;
use super::state::State;
use super::view::WaitReason;
use crate::ids::LaneName;

/// The lanes that have a limit, and the jobs of each that have a runner.
#[derive(Debug)]
pub(super) struct Rooms<'a>(BTreeMap<&'a LaneName, Room>);

#[derive(Debug)]
struct Room {
    limit: u32,
    running: u32,
}

impl<'a> Rooms<'a> {
    pub fn of(state: &'a State) -> Self {
        let limited =
            state.spec.lanes.iter().filter_map(|(name, lane)| {
                Some((name, Room { limit: lane.limit?.get(), running: 0 }))
            });
        let mut rooms = Self(limited.collect());
        if rooms.0.is_empty() {
            return rooms;
        }
        for lane in state.held_jobs().filter_map(|job| job.spec.lane.as_ref()) {
            if let Some(room) = rooms.0.get_mut(lane) {
                room.running = room.running.saturating_add(1);
            }
        }
        rooms
    }

    /// How many jobs of a kind may begin, by its lane; none if that has no limit.
    pub fn left(&self, kind: &Kind) -> Option<u32> {
        let room = self.0.get(kind.lane.as_ref()?)?;
        Some(room.limit.saturating_sub(room.running))
    }

    /// Whether one more job of a kind may begin.
    pub fn has(&self, kind: &Kind) -> bool {
        self.left(kind) != Some(0)
    }

    /// So many jobs of a kind begin.
    pub fn take(&mut self, kind: &Kind, count: u32) {
        let room = kind.lane.as_ref().and_then(|lane| self.0.get_mut(lane));
        if let Some(room) = room {
            room.running = room.running.saturating_add(count);
        }
    }

    /// Why jobs of a kind wait, if their lane has all that it may.
    pub fn reason(&self, kind: &Kind) -> Option<WaitReason> {
        let lane = kind.lane.as_ref()?;
        let room = self.0.get(lane).filter(|_| !self.has(kind))?;
        let (running, most) = (room.running, room.limit);
        Some(WaitReason::LaneLimit { lane: lane.clone(), running, most })
    }
}

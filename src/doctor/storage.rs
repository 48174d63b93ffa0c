//! The folders that a fleet writes to, and the disks that they lie on.

use super::facts::{Facts, FileSystem, Folder};
use super::{Check, error, fine, skipped, unread, warning};
use crate::fleet::disk::floor_on;
use crate::units::Bytes;

/// Beyond the floor a disk should have this many times as much again.
const ROOM: u64 = 2;
/// Below this part of them files run out before space does.
const INODES_SHARE: u64 = 20;
/// Others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

pub(super) fn space(facts: &Facts) -> Vec<Check> {
    let floor = facts.wanted.as_ref().map_or(Bytes(0), |wanted| wanted.disk_floor);
    each(facts, "disks", |it| {
        let (path, free) = (it.path.display(), it.free);
        let floor = floor_on(floor, it.total);
        let advice = "`slate-fleet gc`, `docker system df`; a smaller `limits.disk_floor`";
        if free < floor {
            let message =
                format!("{path} ({}) has {free} free, and {floor} is the least", it.holds);
            return error(format!("{message}: no job is given out"), advice);
        }
        match free.0 < floor.0.saturating_mul(ROOM) {
            true => warning(format!("{path} ({}) has only {free} free", it.holds), advice),
            false => fine(format!("{path} ({}) has {free} of {} free", it.holds, it.total)),
        }
    })
}

pub(super) fn inodes(facts: &Facts) -> Vec<Check> {
    each(facts, "inodes", |it| {
        let (path, (free, all)) = (it.path.display(), it.inodes);
        if all == 0 {
            return fine(format!("{path} ({}) has no bound on files", it.holds));
        }
        match free < all / INODES_SHARE {
            true => warning(
                format!("{path} ({}) may take {free} more of {all} files", it.holds),
                "remove folders of many small files: `slate-fleet gc`, `docker system prune`",
            ),
            false => fine(format!("{path} ({}) has room for {free} more files", it.holds)),
        }
    })
}

pub(super) fn file_system(facts: &Facts) -> Vec<Check> {
    each(facts, "file systems", |it| {
        let path = it.path.display();
        match (it.kind, it.holds) {
            (FileSystem::Network(name), "state") => error(
                format!("{path} (state) lies on {name}: locks and the database are not safe there"),
                "`--state-dir` on a disk of this machine",
            ),
            (FileSystem::Network(name), holds) => warning(
                format!("{path} ({holds}) lies on {name}, which may hang"),
                "use a disk of this machine where it must not",
            ),
            (FileSystem::Memory, holds) => warning(
                format!("{path} ({holds}) lies in memory: it is gone after a restart"),
                "`--state-dir`, or a folder on a disk",
            ),
            (FileSystem::Local, holds) => fine(format!("{path} ({holds}) lies on a local disk")),
        }
    })
}

pub(super) fn state_folder(facts: &Facts) -> Vec<Check> {
    let Some(state) = facts.folders.iter().find(|it| it.holds == "state") else {
        return unread("the state folder");
    };
    let path = state.path.display();
    match state.mode {
        None => vec![skipped("the state folder is not there before the first `slate-fleet up`")],
        Some(mode) if mode & WRITABLE_BY_OTHERS != 0 => vec![error(
            format!("others may write to {path}: whoever does rules the fleet"),
            format!("`chmod go-w {path}`"),
        )],
        Some(_) => vec![fine(format!("only its owner writes to {path}"))],
    }
}

pub(super) fn reports_folder(facts: &Facts) -> Vec<Check> {
    let Some(reports) = facts.folders.iter().find(|it| it.holds == "reports") else {
        return vec![skipped("the report store: there is no fleet file that names it")];
    };
    match &reports.refused {
        Some(why) => vec![error(
            format!("the report store cannot be used: {why}"),
            "give it to the user who runs the supervisor: `sudo chown USER FOLDER`; or another \
             `reports.path`",
        )],
        None => vec![fine("the report store can be read and written")],
    }
}

fn each(facts: &Facts, what: &str, judge: impl Fn(&Folder) -> Check) -> Vec<Check> {
    match facts.folders.is_empty() {
        true => unread(what),
        false => facts.folders.iter().map(judge).collect(),
    }
}

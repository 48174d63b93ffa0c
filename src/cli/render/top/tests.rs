//! Screens of two sizes, letter for letter, and the orders of runners.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::*;
use crate::cli::render::{fixture, gpu_fixture};
use crate::fleet::view::JobView;
use crate::ids::{JobId, SlotId};
use crate::supervisor::usage::RunnerUsage;
use crate::units::{Bytes, MilliCpu};

fn usage(number: u32, milli: u32, mib: u64) -> RunnerUsage {
    RunnerUsage {
        id: SlotId(number),
        name: String::new(),
        cpus: Some(MilliCpu(milli)),
        memory: Bytes::mib(mib),
        memory_limit: Bytes::gib(8),
        pids: 12,
    }
}

fn view() -> View {
    let mut fleet = fixture::fleet();
    fleet.gpus = gpu_fixture::gpus();
    fleet.queued = 2;
    let next = JobView { id: JobId(46), position: Some(1), ..fixture::queued_job() };
    let waiting = waiting(&[fixture::queued_job(), next], &[fixture::forge_job()]);
    let runners = vec![usage(1, 3900, 7300), usage(4, 150, 900), usage(8, 2000, 1023)];
    View { fleet, usage: UsageReport { at: fixture::NOW, runners }, waiting }
}

fn look(sort: Sort) -> Look {
    Look { sort, order: Order::Usual, above: 0, trouble: None, paint: Paint::Off, keys: Keys::Told }
}

fn screen(view: &View, look: &Look, (width, height): (u16, u16)) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw(view, look, area, &mut buffer);
    lines(&buffer)
}

/// The first column of the runners that are seen, without what does not fit.
fn names(view: &View, look: &Look) -> Vec<String> {
    let text = super::text(view, &Look { keys: Keys::None, ..look.clone() }, 80);
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("slate-")).map(str::to_owned).collect()
}

#[test]
fn at_80_by_24_nothing_that_matters_is_cut_off() {
    let text = screen(&view(), &look(Sort::Status), (80, 24));
    assert_eq!(text, include_str!("../expected/top-80x24.txt"));
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn at_120_by_40_there_are_pools_and_notes() {
    let text = screen(&view(), &look(Sort::Cpu), (120, 40));
    assert_eq!(text, include_str!("../expected/top-120x40.txt"));
}

#[test]
fn a_plain_frame_has_every_runner_and_no_keys() {
    let look = Look { keys: Keys::None, ..look(Sort::Name) };
    let text = text(&view(), &look, 80);
    assert_eq!(text.matches("slate-").count(), 19);
    assert!(!text.contains("[q]uit"), "{text}");
}

#[test]
fn runners_stand_in_each_order_and_the_other_way_round() {
    let view = view();
    let first = |sort| names(&view, &look(sort)).remove(0);
    assert_eq!(first(Sort::Name), "slate-gpu-heavy-01");
    assert_eq!(first(Sort::Status), "slate-light-19", "trouble first");
    assert_eq!(first(Sort::Job), "slate-gpu-heavy-01", "job-42");
    assert_eq!(first(Sort::Cpu), "slate-gpu-heavy-01");
    assert_eq!(first(Sort::Memory), "slate-gpu-heavy-01");
    let by_age = names(&view, &look(Sort::Age));
    assert_eq!(by_age.last().map(String::as_str), Some("slate-standard-08"), "3 s");
    let back = Look { order: Order::Reverse, ..look(Sort::Age) };
    assert_eq!(names(&view, &back)[0], "slate-standard-08");
}

#[test]
fn moving_down_shows_later_runners_and_says_from_where() {
    let look = Look { above: 15, ..look(Sort::Name) };
    let text = screen(&view(), &look, (80, 24));
    assert!(text.contains("· 16/19"), "{text}");
    assert!(!text.contains("slate-gpu-heavy-01"), "{text}");
}

#[test]
fn lost_contact_is_said_above_all() {
    let look = Look { trouble: Some("no contact for 7 s: it left".to_owned()), ..look(Sort::Name) };
    let text = screen(&view(), &look, (80, 24));
    assert_eq!(text.lines().nth(2), Some("no contact for 7 s: it left"));
}

#[test]
fn no_size_is_too_small_and_no_text_steers_the_terminal() {
    let mut view = view();
    view.fleet.runners[0].name = "evil\u{1b}[2J".to_owned();
    view.fleet.troubles = vec!["bad\u{7}".to_owned()];
    for width in [0, 1, 7, 40, 200] {
        for height in [0, 1, 2, 3, 5, 60] {
            let text = screen(&view, &look(Sort::Name), (width, height));
            assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{width}x{height}");
        }
    }
}

#[test]
fn colours_are_used_only_where_they_are_allowed() {
    let area = Rect::new(0, 0, 80, 24);
    let styled = |paint| {
        let mut buffer = Buffer::empty(area);
        draw(&view(), &Look { paint, ..look(Sort::Name) }, area, &mut buffer);
        buffer.content().iter().any(|cell| cell.fg != Color::Reset)
    };
    assert!(styled(Paint::On) && !styled(Paint::Off));
}

//! A story as a page, a diagram, or lines for tools.

use std::fmt::Write as _;

use crate::story::{Kind, Moment, Story};

/// The page, with a place for the title and one for the story's data.
const PAGE: &str = include_str!("report/page.html");

/// Most packets in a Mermaid diagram; with more of them nobody can read it.
const MERMAID_PACKETS: usize = 400;

/// One page, everything in one file: lanes of the nodes over virtual time, and the state of the mesh.
#[must_use]
pub fn html(story: &Story) -> String {
    let data = serde_json::to_string(story).unwrap_or_default();
    // Within a script element only this could end the data.
    let data = data.replace("</", "<\\/");
    let title = format!("{}:{}", story.name, story.seed);
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    PAGE.replacen("__TITLE__", &title, 1).replacen("__STORY__", &data, 1)
}

/// One JSON object a line: first the run without its moments, then every moment.
#[must_use]
pub fn json_lines(story: &Story) -> String {
    let head = Story { moments: Vec::new(), ..story.clone() };
    let mut lines = serde_json::to_string(&head).unwrap_or_default() + "\n";
    for moment in &story.moments {
        lines += &serde_json::to_string(moment).unwrap_or_default();
        lines.push('\n');
    }
    lines
}

/// A Mermaid sequence diagram. Of a long story only the beginning, and it says so.
#[must_use]
pub fn mermaid(story: &Story) -> String {
    let mut out = String::from("sequenceDiagram\n");
    for (number, lane) in story.lanes.iter().enumerate() {
        let _ = writeln!(out, "    participant n{number} as {} {}", lane.name, lane.address);
    }
    let mut packets = 0;
    for moment in &story.moments {
        packets += usize::from(matches!(moment.kind, Kind::Packet | Kind::Drop));
        if packets > MERMAID_PACKETS {
            let _ = writeln!(out, "    Note over n0: … and so on: {MERMAID_PACKETS} packets are drawn");
            break;
        }
        if let Some(line) = mermaid_line(moment, story.lanes.len()) {
            let _ = writeln!(out, "    {line}");
        }
    }
    out
}

fn mermaid_line(moment: &Moment, lanes: usize) -> Option<String> {
    // A semicolon would end the line, a number sign begins an entity.
    let text = moment.text.replace([';', '#'], ",");
    let ms = format!("{}.{} ms", moment.at_us / 1_000, moment.at_us / 100 % 10);
    let all = format!("n0,n{}", lanes.saturating_sub(1));
    let (node, other) = (moment.node, moment.other);
    Some(match (moment.kind, node, other) {
        (Kind::Packet, Some(to), Some(from)) => format!("n{from}->>n{to}: {text}, {ms}"),
        (Kind::Drop, Some(from), Some(to)) => format!("n{from}--xn{to}: {text}, {ms}"),
        (Kind::Drop, Some(from), None) => format!("n{from}--xn{from}: to nobody: {text}, {ms}"),
        (Kind::Incident, ..) => format!("Note over {all}: {text}, {ms}"),
        (Kind::Heal | Kind::Full | Kind::Broken, ..) => {
            format!("Note over {all}: {} {text}, {ms}", moment.kind.name())
        }
        (Kind::Dial | Kind::DialFailed, ..) => return None,
        (kind, Some(node), Some(other)) => {
            format!("Note over n{node}: {} n{other} {text}, {ms}", kind.name())
        }
        (kind, Some(node), None) => format!("Note over n{node}: {} {text}, {ms}", kind.name()),
        _ => return None,
    })
}

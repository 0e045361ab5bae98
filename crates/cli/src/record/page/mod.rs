//! A recording as one page: `trace --html`. It needs nothing beside itself.
//!
//! Here: what is around the drawing, and the table. The drawing is in `drawing`; what
//! makes text safe in `html`. The page works without its script, which only adds
//! selection and a filter.

mod axis;
mod drawing;
mod html;
mod levels;
mod marks;
mod shapes;
mod waits;

use super::story::{Mark, Row, Waiting};
use super::text::seconds;
use super::trace::Trace;
use super::words::{bytes_in_words, duration_in_words};
use drawing::Drawing;
use html::Html;
use shapes::size;
use std::fmt::Write;
use waits::Kind;

/// Rows a page has at most: from the front and from the end, half of it each. With
/// twice as many a browser takes seconds to lay it out.
const ROWS: usize = 10_000;

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

/// No request leaves the page, and no script runs but ours, which is told by its
/// digest. After a change: `openssl dgst -sha256 -binary page.js | base64`, and the
/// same for `page.css`.
const POLICY: &str = concat!(
    "default-src 'none'; base-uri 'none'; form-action 'none'; ",
    "script-src 'sha256-0Rr30CcPJydrIYyHGTYiFqtQp22nitHEUqDUYoc8YuY='; ",
    "style-src 'sha256-4WFKL6cpRmcfOT6FyBepsOR9SyZXEVQhSTnVBkMVwy0='",
);

/// The page, as HTML. `excerpt`: bytes of each row that are shown.
pub(super) fn page(trace: &Trace, excerpt: usize) -> String {
    let half = ROWS / 2;
    let left_out = trace.rows.len().saturating_sub(ROWS);
    let (front, back) = match left_out {
        0 => (&trace.rows[..], &[][..]),
        n => (&trace.rows[..half], &trace.rows[half + n..]),
    };
    let shown: Vec<Row>;
    let drawn = match left_out {
        0 => front,
        _ => {
            shown = [front, back].concat();
            &shown
        }
    };
    let drawing = Drawing::new(drawn, trace.limits, &trace.ended);
    let mut out = String::new();
    let title = format!("{}, {}", trace.protocol, trace.ended);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>{CSS}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#entries\">to the table</a>\n",
        Html(&title)
    );
    write_head(trace, left_out, &mut out);
    let label = format!(
        "{} rows over {}; the table below says the same in words",
        drawn.len(),
        duration_in_words(trace.lasted())
    );
    let _ = write!(
        out,
        "<section class=\"timeline\" aria-label=\"Timeline\">\n<div class=\"chart\">\n{}\n\
         <div class=\"strip\" id=\"strip\" tabindex=\"0\" role=\"group\" \
         aria-label=\"Timeline: arrow keys select an entry\">\n\
         {}\n</div>\n</div>\n",
        drawing.names(),
        drawing.svg(&label)
    );
    write_legend(&mut out);
    out += "<p id=\"told\" class=\"told-idle\" role=\"status\" hidden>\
            Point at an entry, or click and use the arrow keys.</p>\n</section>\n";
    write_table(front, back, left_out, excerpt, &mut out);
    let _ = write!(
        out,
        "<footer>Made by drywire {}; {}.</footer>\n<script>{JS}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        Html(&trace.limits_in_words()),
    );
    out
}

fn write_head(trace: &Trace, left_out: usize, out: &mut String) {
    let _ = write!(
        out,
        "<header>\n<h1>{}</h1>\n<p>{}</p>\n<dl class=\"facts\">\n",
        Html(&trace.protocol),
        Html(&trace.note)
    );
    let mut fact = |name: &str, value: &str, class: &str| {
        let _ = writeln!(out, "<div class=\"{class}\"><dt>{name}</dt><dd>{}</dd></div>", Html(value));
    };
    fact("ended", &trace.ended, if trace.is_cut { "bad" } else { "" });
    fact("took", &duration_in_words(trace.lasted()), "");
    fact("from the peer", &bytes_in_words(trace.received), "");
    fact("to the peer", &bytes_in_words(trace.sent), "");
    fact("most input held", &format!("{} of {}", size(trace.most_held.0), size(trace.limits.input_bytes.into())), "");
    fact("most output held", &format!("{} of {}", size(trace.most_held.1), size(trace.limits.output_bytes.into())), "");
    fact("entries", &trace.entries.to_string(), "");
    *out += "</dl>\n";
    for damage in &trace.damage {
        let _ = writeln!(out, "<p class=\"notice bad\" role=\"alert\">{}</p>", Html(damage));
    }
    for remark in trace.remarks() {
        let _ = writeln!(out, "<p class=\"notice\">{}</p>", Html(&remark));
    }
    if left_out > 0 {
        let _ = writeln!(
            out,
            "<p class=\"notice\">{left_out} rows in the middle are left out here: a page shows {ROWS}. \
             <code>drywire trace --from --to</code> shows any part.</p>"
        );
    }
    *out += "</header>\n";
}

fn write_legend(out: &mut String) {
    *out += "<ul class=\"legend\" aria-label=\"Legend\">\n<li>waits for</li>\n";
    for (kind, words) in Kind::ALL {
        let _ = writeln!(
            out,
            "<li><svg width=\"14\" height=\"12\" aria-hidden=\"true\">\
             <rect class=\"{}\" width=\"14\" height=\"12\" rx=\"2\"/></svg>{words}</li>",
            kind.class()
        );
    }
    for (class, words) in [("due", "a deadline that came due"), ("moved", "one that was put off")] {
        let _ = writeln!(
            out,
            "<li><svg class=\"deadlines\" width=\"10\" height=\"12\" aria-hidden=\"true\">\
             <path class=\"{class}\" d=\"M5 1v9l-3.5 -4h7l-3.5 4\"/></svg>{words}</li>"
        );
    }
    *out += "</ul>\n";
}

fn write_table(front: &[Row], back: &[Row], left_out: usize, excerpt: usize, out: &mut String) {
    let count = front.len() + back.len();
    let _ = write!(
        out,
        "<section aria-label=\"Entries\">\n<div class=\"list-head\"><h2>What happened</h2>\
         <output id=\"count\">{count} rows</output><label id=\"search\" hidden>Filter \
         <input id=\"filter\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\"></label></div>\n\
         <div class=\"scroll\" id=\"list\" tabindex=\"0\" role=\"region\" aria-label=\"Table of entries\">\n\
         <table id=\"entries\">\n<caption>Everything that was recorded, in its order</caption>\n<thead><tr>\
         <th scope=\"col\" class=\"n\">entry</th><th scope=\"col\" class=\"n\">seconds</th><th scope=\"col\">who</th>\
         <th scope=\"col\">what</th><th scope=\"col\" class=\"n\">bytes</th><th scope=\"col\" class=\"n\">held in</th>\
         <th scope=\"col\" class=\"n\">held out</th></tr></thead>\n<tbody>\n"
    );
    let mut turn = 0;
    for row in front {
        write_row(row, row.turn != turn, excerpt, out);
        turn = row.turn;
    }
    if left_out > 0 {
        let _ = writeln!(out, "<tr class=\"left-out\"><td colspan=\"7\">{left_out} rows left out</td></tr>");
    }
    for row in back {
        write_row(row, row.turn != turn, excerpt, out);
        turn = row.turn;
    }
    *out += "</tbody>\n</table>\n</div>\n</section>\n";
}

fn write_row(row: &Row, begins: bool, excerpt: usize, out: &mut String) {
    let n = row.number;
    let new = if begins { " new" } else { "" };
    let _ = write!(
        out,
        "<tr id=\"entry-{n}\" class=\"{}\"><td class=\"n\"><a href=\"#mark-{n}\">{n}</a></td>\
         <td class=\"n t{new}\">{}</td>\
         <td class=\"{who}\">{who}</td><td class=\"what\">{}",
        new.trim_start(),
        seconds(row.at),
        Html(&row.words),
        who = row.who,
    );
    if row.excerpt.len > 0 {
        let shown = &row.excerpt.front[..row.excerpt.front.len().min(excerpt)];
        let _ = write!(out, " <code>{}</code>", Html(&shown.escape_ascii().to_string()));
        let more = row.excerpt.len - shown.len() as u64;
        if more > 0 {
            let _ = write!(out, " <span class=\"more\">and {} more</span>", bytes_in_words(more));
        }
    }
    if let Mark::Wait(Waiting { deadline: Some(deadline), .. }) = row.mark {
        let _ = write!(out, " <span class=\"until\">until {}</span>", seconds(deadline));
    }
    let held = row.held.map(|held| (held.input.to_string(), held.output.to_string()));
    let (held_in, held_out) = held.unwrap_or_default();
    let bytes = row.bytes.map_or_else(String::new, |n| n.to_string());
    let _ = writeln!(
        out,
        "</td><td class=\"n\">{bytes}</td><td class=\"n\">{held_in}</td><td class=\"n\">{held_out}</td></tr>"
    );
}

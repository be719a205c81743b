//! The guide's chapters as HTML: the same Markdown that rustdoc shows as `deeploss::guide`, with its figures as places where the page
//! puts its controls.

use std::path::Path;

use pulldown_cmark::{Alignment, CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use serde_json::Value;

use crate::Result;
use crate::site::read;

/// The chapters by what a reader looks for. Those of the page's own, `race` and `head`, have their HTML in index.html.
const GROUPS: &[(&str, &[&str])] = &[
    ("Begin", &["introduction"]),
    ("One class of several", &["cross_entropy", "nll", "softmax_focal", "multi_margin", "crammer_singer"]),
    ("Yes or no", &["bce", "bce_with_logits", "sigmoid_focal", "soft_margin", "hinge", "squared_hinge"]),
    ("Several labels at once", &["multilabel_soft_margin", "multilabel_margin"]),
    ("Two distributions", &["kl_div", "kl_from_logits"]),
    ("Pairs", &["margin_ranking", "hinge_embedding"]),
    ("See it run", &["race", "head"]),
    ("In practice", &["choosing", "troubles", "where_it_runs"]),
];

const OWN: &[(&str, &str)] = &[("race", "The race"), ("head", "The head")];

/// Puts navigation and chapters into the page.
pub(crate) fn insert(page: &str, guide: &Path) -> Result<String> {
    let contents = contents(&read(&guide.join("contents.md"))?);
    let title = |name: &str| {
        let known = contents.iter().find(|(known, _)| known == name).map(|(_, title)| title.as_str());
        known.or(OWN.iter().find(|(own, _)| *own == name).map(|(_, title)| *title))
    };
    if let Some((stray, _)) =
        contents.iter().find(|(name, _)| !GROUPS.iter().any(|(_, names)| names.contains(&name.as_str())))
    {
        return Err(format!("the chapter {stray} is in no group of xtask/web/src/chapters.rs"));
    }
    let mut nav = String::new();
    let mut chapters = String::new();
    for (group, names) in GROUPS {
        nav += &format!("<h2>{}</h2>\n<ul>\n", escape(group));
        for name in *names {
            let title = title(name).ok_or_else(|| format!("the guide has no chapter {name}"))?;
            nav += &format!("<li><a href=\"#{name}\">{}</a></li>\n", escape(title));
            if contents.iter().any(|(known, _)| known == name) {
                chapters += &chapter(name, group, &read(&guide.join(format!("{name}.md")))?)?;
            }
        }
        nav += "</ul>\n";
    }
    for marker in ["<!-- navigation -->", "<!-- chapters -->"] {
        if !page.contains(marker) {
            return Err(format!("index.html: {marker} is missing"));
        }
    }
    Ok(page.replace("<!-- navigation -->", &nav).replace("<!-- chapters -->", &chapters))
}

/// Name and title of each chapter.
fn contents(markdown: &str) -> Vec<(String, String)> {
    let mut chapters = Vec::new();
    let mut open = None;
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                open = dest_url.strip_prefix("crate::guide::").map(|name| (name.to_owned(), String::new()));
            }
            Event::End(TagEnd::Link) => chapters.extend(open.take()),
            Event::Text(text) => {
                if let Some((_, title)) = &mut open {
                    *title += &text;
                }
            }
            _ => {}
        }
    }
    chapters
}

/// One chapter as a section.
fn chapter(name: &str, group: &str, markdown: &str) -> Result<String> {
    let mut events = Vec::new();
    // What stands open: a figure's comment, a fence, a heading with its text, links that are shown as code.
    let (mut comment, mut fence, mut heading) =
        (None::<String>, None::<(String, String)>, None::<(HeadingLevel, String)>);
    let mut unlinked = Vec::new();
    let mut figures = 0;
    let mut is_code_section = false;
    let mut loss = None;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::HtmlBlock) => comment = Some(String::new()),
            Event::Html(text) => match &mut comment {
                Some(comment) => *comment += &text,
                None => return Err(format!("{name}.md: raw HTML: {text}")),
            },
            Event::End(TagEnd::HtmlBlock) => {
                let call = figure(&comment.take().unwrap_or_default()).map_err(|e| format!("{name}.md: {e}"))?;
                figures += 1;
                loss.get_or_insert(call["loss"].as_str().unwrap_or_default().to_owned());
                events.push(Event::Html(figure_html(name, figures, &call).into()));
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match &kind {
                    CodeBlockKind::Fenced(info) => info.split(',').next().unwrap_or_default().to_owned(),
                    CodeBlockKind::Indented => String::new(),
                };
                fence = Some((language, String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((language, code)) = fence.take() {
                    events.push(Event::Html(code_html(&language, &code).into()));
                }
            }
            Event::Text(text) if fence.is_some() => {
                if let Some((_, code)) = &mut fence {
                    *code += &text;
                }
            }
            Event::Start(Tag::Heading { level, .. }) => heading = Some((level, String::new())),
            Event::Text(text) | Event::Code(text) if heading.is_some() => {
                if let Some((_, title)) = &mut heading {
                    *title += &text;
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((level, title)) = heading.take() {
                    // The programs that follow the controls end the section of that name.
                    if std::mem::take(&mut is_code_section) {
                        events.push(programs());
                    }
                    is_code_section = title == "In Rust and in PyTorch";
                    events.push(Event::Html(heading_html(name, level, &title).into()));
                    if level == HeadingLevel::H1 {
                        let above = format!("<p class=\"kicker\">{}</p>\n", escape(group));
                        events.insert(0, Event::Html(above.into()));
                    }
                }
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let is_item = dest_url.starts_with("crate::") && !dest_url.starts_with("crate::guide::");
                unlinked.push(is_item);
                if !is_item {
                    let dest_url = match dest_url.strip_prefix("crate::guide::") {
                        Some(chapter) => CowStr::from(format!("#{chapter}")),
                        None => dest_url,
                    };
                    events.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
                }
            }
            Event::End(TagEnd::Link) => {
                if unlinked.pop() == Some(false) {
                    events.push(Event::End(TagEnd::Link));
                }
            }
            // Wide tables scroll by themselves.
            Event::Start(Tag::Table(alignment)) => {
                events.push(Event::Html(
                    "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Table\">".into(),
                ));
                // Alignment would be a style in the HTML, which the page's policy forbids.
                events.push(Event::Start(Tag::Table(vec![Alignment::None; alignment.len()])));
            }
            Event::End(TagEnd::Table) => {
                events.push(Event::End(TagEnd::Table));
                events.push(Event::Html("</div>\n".into()));
            }
            event => events.push(event),
        }
    }
    if is_code_section {
        events.push(programs());
    }
    let mut body = String::new();
    html::push_html(&mut body, events.into_iter());
    let loss = loss.map_or_else(String::new, |loss| format!(" data-loss=\"{}\"", escape(&loss)));
    Ok(format!("<section class=\"chapter\" id=\"{name}\"{loss} aria-labelledby=\"{name}-title\">\n{body}</section>\n"))
}

/// The JSON of a figure's comment.
fn figure(comment: &str) -> Result<Value> {
    let json = comment.trim().strip_prefix("<!-- figure ").and_then(|rest| rest.strip_suffix("-->"));
    let json = json.ok_or_else(|| format!("expected a figure, got {comment}"))?;
    serde_json::from_str(json.trim()).map_err(|e| format!("a figure's JSON: {e}"))
}

fn figure_html(name: &str, number: usize, call: &Value) -> String {
    let title = call["title"].as_str().unwrap_or_default();
    let id = format!("{name}-figure-{number}");
    format!(
        "<figure class=\"figure\" id=\"{id}\" aria-labelledby=\"{id}-caption\" data-call=\"{}\">\n\
         <figcaption id=\"{id}-caption\">{}</figcaption>\n<p class=\"waiting\">The controls load with the program.</p>\n</figure>\n",
        escape(&call.to_string()),
        escape(title)
    )
}

fn programs() -> Event<'static> {
    Event::Html("<div class=\"programs\"></div>\n".into())
}

fn heading_html(name: &str, level: HeadingLevel, title: &str) -> String {
    let slug: String = title.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let id =
        if level == HeadingLevel::H1 { format!("{name}-title") } else { format!("{name}-{}", slug.trim_matches('-')) };
    format!("<{level} id=\"{id}\" tabindex=\"-1\">{}</{level}>\n", escape(title))
}

/// A fence, without the lines that rustdoc hides.
fn code_html(language: &str, code: &str) -> String {
    let hidden = |line: &&str| language == "rust" && (line.trim() == "#" || line.trim_start().starts_with("# "));
    let shown: Vec<_> = code.lines().filter(|line| !hidden(line)).collect();
    let language = if language.is_empty() { "text" } else { language };
    format!(
        "<pre class=\"code {language}\" tabindex=\"0\"><code>{}</code></pre>\n",
        escape(shown.join("\n").trim_matches('\n'))
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

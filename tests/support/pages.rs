//! Documents whose `console` blocks are run.

/// A command, its expected exit code and output (standard error after standard output, as on the page).
#[derive(Debug, Default)]
pub struct Step {
    /// The text before the `$` of the prompt.
    pub who: String,
    pub command: String,
    pub code: i32,
    pub output: String,
}

/// Returns the fenced blocks of a language.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().expect("split yields one")).collect()
}

/// Returns the commands of a block, at the prompts `NAME$ ` of these people.
pub fn steps(block: &str, people: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        let typed = line.split_once("$ ").filter(|(who, _)| people.contains(who));
        if let Some((who, command)) = typed {
            steps.push(Step { who: who.to_owned(), command: command.to_owned(), ..Step::default() });
            continue;
        }
        let step = steps.last_mut().expect("a block begins with a command");
        match line.strip_prefix("? ") {
            Some(code) => step.code = code.parse().expect("an exit code"),
            None => step.output.push_str(&format!("{line}\n")),
        }
    }
    steps
}

/// Replaces each time of the form `2026-11-22T06:00:00Z`, with or without a fraction, because a page cannot know it.
pub fn without_times(text: &str) -> String {
    let (mut result, mut rest) = (String::new(), text);
    while let Some(character) = rest.chars().next() {
        let time = length_of_time(rest);
        let taken = time.unwrap_or(character.len_utf8());
        result.push_str(if time.is_some() { "TIME" } else { &rest[..taken] });
        rest = &rest[taken..];
    }
    result
}

/// Returns the length of the time at the beginning of a text.
fn length_of_time(text: &str) -> Option<usize> {
    let shape = "dddd-dd-ddTdd:dd:dd";
    let fits = |(shape, byte): (u8, u8)| if shape == b'd' { byte.is_ascii_digit() } else { shape == byte };
    let is_time = text.len() > shape.len() && shape.bytes().zip(text.bytes()).all(fits);
    let rest = is_time.then(|| &text[shape.len()..])?;
    let fraction = rest.strip_prefix('.').map_or(0, |rest| 1 + rest.bytes().take_while(u8::is_ascii_digit).count());
    rest[fraction..].starts_with('Z').then_some(shape.len() + fraction + 1)
}

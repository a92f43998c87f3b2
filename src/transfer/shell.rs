//! Lines that a POSIX shell reads: `export NAME='value'`.

use zeroize::Zeroizing;

use super::entry::{self, FormatError};
use crate::secret::{SecretName, SecretValue};

/// Variables that have a meaning to a shell: bash, dash, zsh or another. Some run their value (PS1, PROMPT_COMMAND), some change
/// what a command does (CDPATH, IFS) or where files are (HOME, HISTFILE), and read-only ones end the script midway (UID).
/// The list covers the common ones. It leaves out names that are usual elsewhere and that a shell only displays (HOST, USER, LANG).
const SHELLS_OWN: &[&str] = &[
    // Any shell.
    "CDPATH",
    "COLUMNS",
    "EDITOR",
    "ENV",
    "FCEDIT",
    "HISTFILE",
    "HISTSIZE",
    "HOME",
    "IFS",
    "LINENO",
    "LINES",
    "LOGNAME",
    "MAIL",
    "MAILCHECK",
    "MAILPATH",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "PATH",
    "PPID",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "PWD",
    "RANDOM",
    "SECONDS",
    "SHELL",
    "SHLVL",
    "TERM",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TMOUT",
    "TMPDIR",
    "VISUAL",
    "_",
    // Read by many programs that a shell starts.
    "BROWSER",
    "GIT_EDITOR",
    "GIT_PROXY_COMMAND",
    "GIT_SEQUENCE_EDITOR",
    "GIT_TEMPLATE_DIR",
    "LESSCLOSE",
    "LESSOPEN",
    "MANPAGER",
    "PAGER",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "SUDO_EDITOR",
    // bash.
    "CHILD_MAX",
    "COMPREPLY",
    "COMP_CWORD",
    "COMP_KEY",
    "COMP_LINE",
    "COMP_POINT",
    "COMP_TYPE",
    "COMP_WORDBREAKS",
    "COMP_WORDS",
    "COPROC",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "EXECIGNORE",
    "FIGNORE",
    "FUNCNAME",
    "FUNCNEST",
    "GLOBIGNORE",
    "GLOBSORT",
    "GROUPS",
    "HISTCMD",
    "HISTCONTROL",
    "HISTFILESIZE",
    "HISTIGNORE",
    "HISTTIMEFORMAT",
    "HOSTFILE",
    "HOSTNAME",
    "HOSTTYPE",
    "IGNOREEOF",
    "INPUTRC",
    "MACHTYPE",
    "MAPFILE",
    "OSTYPE",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PROMPT_COMMAND",
    "PROMPT_DIRTRIM",
    "REPLY",
    "SHELLOPTS",
    "SRANDOM",
    "TIMEFORMAT",
    "UID",
    "auto_resume",
    "histchars",
    // zsh, which has two names for many.
    "ARGC",
    "ARGV0",
    "CORRECT_IGNORE",
    "CORRECT_IGNORE_FILE",
    "CPUTYPE",
    "DIRSTACKSIZE",
    "EGID",
    "ERRNO",
    "FPATH",
    "GID",
    "HISTCHARS",
    "HISTNO",
    "HISTORY_IGNORE",
    "KEYBOARD_HACK",
    "KEYTIMEOUT",
    "LISTMAX",
    "LOGCHECK",
    "MANPATH",
    "MATCH",
    "MBEGIN",
    "MEND",
    "MODULE_PATH",
    "NULLCMD",
    "POSTEDIT",
    "PROMPT",
    "PROMPT2",
    "PROMPT3",
    "PROMPT4",
    "PROMPT_EOL_MARK",
    "PSVAR",
    "READNULLCMD",
    "REPORTMEMORY",
    "REPORTTIME",
    "RPROMPT",
    "RPROMPT2",
    "RPS1",
    "RPS2",
    "SAVEHIST",
    "SPROMPT",
    "STTY",
    "TIMEFMT",
    "TRY_BLOCK_ERROR",
    "TRY_BLOCK_INTERRUPT",
    "TTY",
    "TTYIDLE",
    // Setting it changes the user.
    "USERNAME",
    "VENDOR",
    "WATCH",
    "WATCHFMT",
    "WORDCHARS",
    "ZBEEP",
    "ZDOTDIR",
    "aliases",
    "argv",
    "builtins",
    "cdpath",
    "commands",
    "dirstack",
    "fignore",
    "fpath",
    "funcstack",
    "functions",
    "galiases",
    "history",
    "historywords",
    "jobdirs",
    "jobstates",
    "jobtexts",
    "keymaps",
    "mailpath",
    "manpath",
    "match",
    "mbegin",
    "mend",
    "module_path",
    "modules",
    "nameddirs",
    "options",
    "parameters",
    "path",
    "patchars",
    "pipestatus",
    "prompt",
    "psvar",
    "reswords",
    "saliases",
    "signals",
    "status",
    "termcap",
    "terminfo",
    "userdirs",
    "usergroups",
    "watch",
    "widgets",
    "zsh_eval_context",
    "zsh_scheduled_events",
];

/// Prefixes of names that all belong to a shell.
const SHELLS_PREFIXES: &[&str] = &["BASH", "READLINE_", "ZLE_", "ZSH_"];

fn is_a_shells_own(name: &str) -> bool {
    SHELLS_OWN.contains(&name) || SHELLS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Writes a script.
///
/// # Errors
/// Each secret whose name is not a variable's or has a meaning to a shell, or whose value no variable can hold.
pub fn render(secrets: &[(SecretName, SecretValue)]) -> Result<Zeroizing<Vec<u8>>, Vec<FormatError>> {
    let mut script = Zeroizing::new(Vec::new());
    entry::each(secrets, |name, value| {
        entry::refuse_nul(name, value)?;
        let is_variable = !name.as_str().contains('-') && !name.as_str().starts_with(|c: char| c.is_ascii_digit());
        if !is_variable {
            return Err(FormatError { name: name.clone(), reason: "its name is not a valid name of a shell variable" });
        }
        if is_a_shells_own(name.as_str()) {
            return Err(FormatError {
                name: name.clone(),
                reason: "a variable of this name has a special meaning to the shell",
            });
        }
        script.extend_from_slice(format!("export {name}='").as_bytes());
        for &byte in value.expose() {
            match byte {
                b'\'' => script.extend_from_slice(br"'\''"),
                byte => script.push(byte),
            }
        }
        script.extend_from_slice(b"'\n");
        Ok(())
    })?;
    Ok(script)
}

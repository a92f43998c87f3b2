//! Names of variables that change what programs do: the one rule for every place where the name of a secret becomes the name of
//! a variable.
//!
//! Anyone who may write to a vault chooses the names in it. A variable of one of these names makes a common program run code, load
//! code, read settings that name a command, or connect elsewhere. Each family has the manual that describes it. The list cannot be
//! complete: any program may read any variable.

/// Variables with a meaning to one kind of program.
struct Family {
    /// The end of the sentence "the variable …".
    effect: &'static str,
    /// Whole names, separated by spaces.
    names: &'static str,
    /// Beginnings of names. A name that ends as a credential does is not meant: see [`CREDENTIALS`].
    prefixes: &'static str,
    /// Ends of names.
    suffixes: &'static str,
}

const LOADS: &str = "changes how programs load";
const BUILDS: &str = "changes what a build runs";
const TO_A_SHELL: &str = "has a special meaning to a shell";
const NODE: &str = "changes what Node runs";
const SETTINGS: &str = "changes where programs find their settings";
const CONNECTS: &str = "changes where programs connect, or whom they trust";

const FAMILIES: &[Family] = &[
    // The dynamic linkers and the C library: ld.so(8), dyld(1), and glibc's list of what a setuid program must not inherit.
    Family {
        effect: LOADS,
        names: "GCONV_PATH GETCONF_DIR GLIBC_TUNABLES LIBPATH LOCPATH MALLOC_TRACE NIS_PATH NLSPATH PATH SHLIB_PATH TZDIR",
        prefixes: "DYLD_ LD_ _RLD",
        suffixes: "_PRELOAD",
    },
    // Shells, whichever starts: bash(1), dash(1), zsh(1), ksh(1). PS4 and PROMPT_COMMAND run their value.
    Family {
        effect: LOADS,
        names: "CDPATH ENV FPATH GLOBIGNORE IFS INPUTRC NULLCMD PROMPT_COMMAND PS0 PS1 PS2 PS3 PS4 READNULLCMD SHELL \
            SHELLOPTS ZDOTDIR",
        prefixes: "BASH",
        suffixes: "_SHELL",
    },
    // Programs that others start: environ(7); sudo's sudoers(5) names some. LESSOPEN runs a command: less(1).
    Family {
        effect: "names a program that others start",
        names: "LESSCLOSE LESSOPEN TERMINAL VISUAL LESS LESSKEYIN LESSKEY LESSKEY_CONTENT LESSKEY_SYSTEM",
        prefixes: "",
        suffixes: "ASKPASS BROWSER EDITOR PAGER _CMD _COMMAND _PROG _RSH _WRAPPER",
    },
    // Options that a program takes from the environment: for example GREP_OPTIONS, TAR_OPTIONS of tar(1), MAVEN_OPTS.
    Family {
        effect: "gives options to a program",
        names: "GZIP MANOPT PYTEST_ADDOPTS PYTEST_PLUGINS TAPE XZ_DEFAULTS XZ_OPT ZIPOPT UNZIP",
        prefixes: "",
        suffixes: "_OPTIONS _OPTS",
    },
    // git(1), "Environment Variables": GIT_SSH_COMMAND and GIT_CONFIG_COUNT each run a command.
    Family { effect: "changes what git runs", names: "", prefixes: "GIT_", suffixes: "" },
    // ssh(1) and ssh-add(1). Subversion, rsync, Mercurial and CVS start their own: svn's config file, hg's "environment".
    Family {
        effect: "changes what ssh and programs that use it run",
        names: "HGRCPATH SVN_SSH",
        prefixes: "RSYNC_ SSH_",
        suffixes: "",
    },
    // GNU make's manual, "Variables from the Environment": MAKEFLAGS may hold --eval. And every variable that the rules of
    // `make -p -f /dev/null` use, which a test compares.
    Family {
        effect: BUILDS,
        names: "AR ARFLAGS AS ASFLAGS CC CO COFLAGS CPP CTANGLE CWEAVE CXX DEFFLAGS F77 F77FLAGS FC FFLAGS GET GFLAGS \
            GNUMAKEFLAGS GPATH LD LDLIBS LEX LFLAGS LINT LINTFLAGS LOADLIBES M2C M2FLAGS MFLAGS MODFLAGS OBJC \
            OUTPUT_OPTION PC PFLAGS RFLAGS RM SCCS_OUTPUT_OPTION SUFFIXES TANGLE TARGET_ARCH TARGET_MACH TEX TEXI2DVI TEXI2DVI_FLAGS VPATH \
            WEAVE YACC YFLAGS",
        prefixes: "MAKE",
        suffixes: "CFLAGS CPPFLAGS CXXFLAGS LDFLAGS",
    },
    // CMake, pkg-config, GCC and Clang: their manuals. Autoconf's "Preset Output Variables" and "Site Configuration", and Kbuild's
    // "Environment variables".
    Family {
        effect: BUILDS,
        names: "AWK BISON COMPILER_PATH CONFIG_SITE CPATH CPLUS_INCLUDE_PATH CROSS_COMPILE C_INCLUDE_PATH EGREP FGREP FLEX \
            GCC_EXEC_PREFIX GREP HOSTCC HOSTCXX INSTALL LIBRARY_PATH LIBS LIBTOOL LN_S MKDIR_P NM OBJCOPY OBJDUMP \
            RANLIB SED STRIP",
        prefixes: "CMAKE_ KBUILD_ NINJA_ PKG_CONFIG",
        suffixes: "",
    },
    // Python's "Command line and environment", Jupyter's and IPython's directories, Matplotlib's backend, Django's settings.
    Family {
        effect: "changes what Python runs",
        names: "COVERAGE_PROCESS_START DJANGO_SETTINGS_MODULE IPYTHONDIR MPLBACKEND MPLCONFIGDIR VIRTUAL_ENV",
        prefixes: "CONDA_ JUPYTER_ MAMBA_ PDM_ PIP_ PIPENV_ PIPX_ POETRY_ PYENV_ PYTHON TOX_ UV_",
        suffixes: "",
    },
    // Node's "Command-line API", npm's "config", Yarn's, Deno's and Bun's.
    Family { effect: NODE, names: "ELECTRON_RUN_AS_NODE", prefixes: "BUN_ COREPACK_ DENO_ NODE_ NVM_", suffixes: "" },
    // perlrun(1), ruby(1), gem and bundle; php(1), lua(1), R's "Startup", Julia's and Erlang's manuals.
    Family {
        effect: "changes what an interpreter runs",
        names: "ERL_AFLAGS ERL_FLAGS ERL_LIBS ERL_ZFLAGS PHPRC PHP_INI_SCAN_DIR R_ENVIRON \
            R_ENVIRON_USER R_HOME R_LIBS R_LIBS_SITE R_LIBS_USER R_PROFILE R_PROFILE_USER TCLLIBPATH TCL_LIBRARY TK_LIBRARY",
        prefixes: "BUNDLE_ GEM_ JULIA_ LUA_ PERL RUBY",
        suffixes: "",
    },
    // The java launcher's JDK_JAVA_OPTIONS, JVM TI's JAVA_TOOL_OPTIONS; .NET's "environment variables": DOTNET_STARTUP_HOOKS.
    Family {
        effect: "changes what Java or .NET runs",
        names: "ANT_ARGS ANT_HOME CLASSPATH GRADLE_HOME GRADLE_USER_HOME JAVACMD JAVA_HOME JRE_HOME M2_HOME MAVEN_ARGS MAVEN_HOME",
        prefixes: "COMPlus_ CORECLR_ COR_ DOTNET_ JAVA_ JDK_ _JAVA_",
        suffixes: "",
    },
    // "Environment variables" of Cargo and of rustup; `go help environment`.
    Family {
        effect: BUILDS,
        names: "GCCGO GOAUTH GOBIN GOCACHE GOCACHEPROG GOENV GOEXPERIMENT GOFLAGS GOINSECURE GOMODCACHE GONOPROXY GONOSUMDB \
            GOPATH GOPRIVATE GOPROXY GOROOT GOSUMDB GOTOOLCHAIN GOTOOLDIR GOVCS GOWORK RUSTDOC RUSTDOCFLAGS RUSTFLAGS",
        prefixes: "CARGO_ CGO_ RUSTC RUSTUP_",
        suffixes: "",
    },
    // Files that may name a command: XDG's base directories; KUBECONFIG (exec plugins), AWS_CONFIG_FILE (credential_process),
    // DOCKER_CONFIG (credential helpers), FLYTECTL_CONFIG (external commands), and the rest by their manuals.
    Family {
        effect: SETTINGS,
        names: "APT_CONFIG AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE BOTO_CONFIG CLOUDSDK_CONFIG CLOUDSDK_PYTHON CURL_HOME \
            DOCKER_CONFIG EMACSLOADPATH EXINIT GNUPGHOME GVIMINIT HOME KUBECONFIG MYVIMRC NETRC \
            NVIM_APPNAME OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES PGPASSFILE PGSERVICEFILE PGSYSCONFDIR PSQLRC \
            SCREENRC UCTL_CONFIG VIM VIMINIT VIMRUNTIME WGETRC",
        prefixes: "ANSIBLE_ GIO_ GTK_ QT_ SYSTEMD_ TF_CLI_ XDG_",
        suffixes: "",
    },
    // The Flyte SDK reads `FLYTE_SECTION_OPTION` for each setting, before its configuration file: its config/_internal.py. Union's SDK
    // has its own prefix.
    Family { effect: CONNECTS, names: "", prefixes: "FLYTECTL_ FLYTE_ UNION_ _U_", suffixes: "" },
    // curl(1), "Environment"; resolv.conf(5) and hostname(7); the trust stores of OpenSSL, curl, requests and Node; D-Bus's
    // unixexec; docker(1).
    Family {
        effect: CONNECTS,
        names: "CURL_CA_BUNDLE DOCKER_CERT_PATH DOCKER_CONTEXT DOCKER_HOST HOSTALIASES LOCALDOMAIN REQUESTS_CA_BUNDLE \
            RESOLV_HOST_CONF RES_OPTIONS SSLKEYLOGFILE SSL_CERT_DIR SSL_CERT_FILE",
        prefixes: "DBUS_",
        suffixes: "",
    },
];

/// Families of programs that read their variables in any case, here in upper case: `getproxies` of Python's urllib, npm and pnpm
/// ("config"), and Yarn ("Configuration").
const FAMILIES_IN_ANY_CASE: &[Family] = &[
    Family { effect: CONNECTS, names: "", prefixes: "", suffixes: "_PROXY" },
    Family { effect: NODE, names: "", prefixes: "NPM_CONFIG_ NPM_PACKAGE_CONFIG_ PNPM_CONFIG_ YARN_", suffixes: "" },
];

/// Ends of names that say what a secret is. None of the documented variables of a family above ends in one of these, and
/// `NODE_AUTH_TOKEN`, `LD_SDK_KEY` and `SSH_PRIVATE_KEY` are usual names of secrets.
const CREDENTIALS: &str = "_KEY _PASSPHRASE _PASSWORD _SECRET _TOKEN";

/// The beginning of the variables of flyte-local itself, which `docs/reference.md` lists; one of them ends as a credential does.
const OURS: &str = "FLYTE_LOCAL";

/// Variables with a meaning to shells, besides the ones above: any shell's, and bash's. A shell reads them from its environment too:
/// bash runs commands in MAILPATH, and empties the file HISTFILE. Some change what a command does (OPTIND) or where files are (TMPDIR),
/// and read-only ones end the script midway (UID).
const SHELLS: [&str; 2] = [
    "COLUMNS FCEDIT HISTFILE HISTSIZE LINENO LINES LOGNAME MAIL MAILCHECK MAILPATH OLDPWD OPTARG OPTERR OPTIND PPID \
    PWD RANDOM SECONDS SHLVL TERM TERMCAP TERMINFO TERMINFO_DIRS TMOUT TMPDIR _",
    "CHILD_MAX COMPREPLY COMP_CWORD COMP_KEY COMP_LINE COMP_POINT COMP_TYPE COMP_WORDBREAKS COMP_WORDS COPROC \
    DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID EXECIGNORE FIGNORE FUNCNAME FUNCNEST GLOBSORT GROUPS HISTCMD \
    HISTCONTROL HISTFILESIZE HISTIGNORE HISTTIMEFORMAT HOSTFILE HOSTTYPE IGNOREEOF MACHTYPE MAPFILE OSTYPE \
    MODULE_PATH PIPESTATUS POSIXLY_CORRECT PROMPT_DIRTRIM REPLY SRANDOM TIMEFORMAT UID auto_resume histchars",
];

/// Variables with a meaning to a shell only when a script sets them: mostly zsh's, where setting USERNAME changes the user. The lists leave
/// out names that are usual elsewhere and that a shell only displays (HOST, USER, LANG).
const SHELLS_OWN: &str = "ARGC ARGV0 CORRECT_IGNORE CORRECT_IGNORE_FILE CPUTYPE DIRSTACKSIZE EGID ERRNO GID HISTCHARS HISTNO \
    HISTORY_IGNORE HOSTNAME KEYBOARD_HACK KEYTIMEOUT LISTMAX LOGCHECK MANPATH MATCH MBEGIN MEND POSTEDIT PROMPT \
    PROMPT2 PROMPT3 PROMPT4 PROMPT_EOL_MARK PSVAR REPORTMEMORY REPORTTIME RPROMPT RPROMPT2 RPS1 RPS2 SAVEHIST \
    SPROMPT STTY TIMEFMT TRY_BLOCK_ERROR TRY_BLOCK_INTERRUPT TTY TTYIDLE USERNAME VENDOR WATCH WATCHFMT WORDCHARS \
    ZBEEP aliases argv builtins cdpath commands dirstack fignore fpath funcstack functions galiases history \
    historywords jobdirs jobstates jobtexts keymaps mailpath manpath match mbegin mend module_path modules nameddirs \
    options parameters patchars path pipestatus prompt psvar reswords saliases signals status termcap terminfo \
    userdirs usergroups watch widgets zsh_eval_context zsh_scheduled_events";

/// Beginnings of names that all belong to a shell.
const SHELLS_PREFIXES: &str = "READLINE_ ZLE_ ZSH_";

/// Returns what a variable of this name does to programs, as the end of the sentence "the variable …"; `None` if it is not known to
/// do anything.
pub fn effect_on_programs(name: &str) -> Option<&'static str> {
    if name.starts_with(OURS) {
        return Some("changes what flyte-local does");
    }
    let upper = name.to_ascii_uppercase();
    let family = FAMILIES.iter().find(|family| family.has(name));
    let family = family.or_else(|| FAMILIES_IN_ANY_CASE.iter().find(|family| family.has(&upper)));
    let is_a_shells = || {
        SHELLS.into_iter().flat_map(words).any(|known| known == name)
            || words(SHELLS_PREFIXES).any(|start| name.starts_with(start))
    };
    family.map(|family| family.effect).or_else(|| is_a_shells().then_some(TO_A_SHELL))
}

impl Family {
    fn has(&self, name: &str) -> bool {
        let is_credential = || words(CREDENTIALS).any(|end| name.ends_with(end));
        words(self.names).any(|known| known == name)
            || words(self.suffixes).any(|end| name.ends_with(end))
            || (words(self.prefixes).any(|start| name.starts_with(start)) && !is_credential())
    }
}

/// Returns what a variable of this name does in a shell that sets it, or to the programs that this shell starts.
pub fn effect_in_a_shell(name: &str) -> Option<&'static str> {
    effect_on_programs(name).or_else(|| words(SHELLS_OWN).any(|known| known == name).then_some(TO_A_SHELL))
}

/// Returns true if a shell can set a variable of this name: letters, digits and `_`, and no digit first.
pub fn is_a_shells_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn words(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_listed_once() {
        let families = FAMILIES.iter().chain(FAMILIES_IN_ANY_CASE).flat_map(|family| words(family.names));
        let mut all: Vec<_> = families.chain(SHELLS.into_iter().flat_map(words)).chain(words(SHELLS_OWN)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}

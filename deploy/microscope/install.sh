#!/usr/bin/env bash
# Runs `mhfd watch` on this machine as a user service: no root, no sudo. Run it again after an update or a change.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: deploy/microscope/install.sh [options]

  --dry-run         print what would be done, do nothing
  --profile NAME    [profiles.NAME] of the configuration to watch with [the configuration's own choice]
  --extras LIST     extras of mhfd to install [globus,cpu,codecs]
  --wheels DIR      install from the wheels in this folder, without a network
  --python PROGRAM  Python 3.10 to 3.14 [python3]
  --linger          run from boot on, not only while you are logged in
  --no-start        do not start the service
  --uninstall       remove service and packages; configuration, ledger and logs stay

Installs the virtual environment ~/.local/share/mhfd/venv, ~/.config/mhfd/watch.env and the unit mhfd-watch.service. Where
there is no configuration yet, `mhfd init` asks for one.
TEXT
}

readonly venv=$HOME/.local/share/mhfd/venv
readonly configs=${XDG_CONFIG_HOME:-$HOME/.config}
readonly settings=$configs/mhfd/watch.env
readonly units=$configs/systemd/user
readonly unit=mhfd-watch.service
unset MHFD_CONFIG MHFD_PROFILE # the service does not get this shell's

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
readonly here checkout

dry=false
start=true
linger=false
uninstall=false
profile=
extras=globus,cpu,codecs
wheels=
python=python3

say() { printf '%s\n' "$*"; }
die() { # die EXIT_CODE MESSAGE
    printf 'install.sh: %s\n' "$2" >&2
    exit "$1"
}

run() { # run COMMAND...: with --dry-run only print it
    if $dry; then
        printf 'would run:'
        printf ' %q' "$@"
        printf '\n'
    else
        "$@"
    fi
}

overwrite() { # overwrite SOURCE TARGET: install a file that users do not edit
    if cmp -s "$1" "$2"; then say "up to date: $2"; else run install -D -m 0644 "$1" "$2"; fi
}

check_machine() {
    [[ -z ${SUDO_USER:-} ]] || die 2 "This sets up a user service, not a system service: run it without sudo."
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null ||
        die 78 "$python is not Python 3.10 to 3.14. Name one with --python."
    $dry || ! $start || systemctl --user show-environment >/dev/null 2>&1 ||
        die 69 "systemd does not run for you here: log in at the machine itself or with ssh (not su), or use --no-start."
}

install_packages() {
    local what=("${checkout}[$extras]")
    [[ -z $wheels ]] || what=(--no-index --find-links "$wheels" "mhfd[$extras]")
    [[ -x $venv/bin/python ]] || run "$python" -m venv "$venv"
    run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "${what[@]}"
}

configured() { "$venv/bin/python" -c 'import sys; from mhfd_client.config import default_path as p; sys.exit(not p().exists())'; }

configure() {
    if ! $dry && ! configured; then
        [[ -t 0 ]] || die 78 "There is no configuration yet. Run $venv/bin/mhfd init, then this again."
        "$venv/bin/mhfd" init
    fi
    run "$venv/bin/mhfd" config validate
}

install_files() {
    overwrite "$here/$unit" "$units/$unit"
    if [[ $(systemd_version) -ge 254 ]]; then overwrite "$here/backoff.conf" "$units/$unit.d/backoff.conf"; fi
    [[ -e $settings ]] || run install -D -m 0600 "$here/watch.env.example" "$settings"
    if [[ -n $profile ]]; then run set_profile; fi
}

set_profile() { # the one line of watch.env that we write
    sed -i '/^MHFD_PROFILE=/d' "$settings"
    printf 'MHFD_PROFILE=%s\n' "$profile" >>"$settings"
}

systemd_version() { systemctl --version 2>/dev/null | awk 'NR == 1 {v = $2} END {print v + 0}'; }

start_service() {
    run systemctl --user daemon-reload
    run systemctl --user enable "$unit"
    run systemctl --user restart "$unit"
}

stay() {
    if $linger; then
        run loginctl enable-linger || die 77 "This machine does not allow it: ask its administrator for 'loginctl enable-linger $USER'."
    elif [[ $(loginctl show-user "${USER:-}" --property=Linger --value 2>/dev/null) != yes ]]; then
        say "It runs while you are logged in. To run it from boot: install.sh --linger"
    fi
}

remove() {
    run systemctl --user disable --now "$unit" || say "The service was not running."
    run rm -f "$units/$unit" "$units/$unit.d/backoff.conf"
    run rm -rf "$venv"
    run systemctl --user daemon-reload || true
    say "Configuration ($configs/mhfd), ledger and logs are still there."
}

main() {
    while [[ $# -gt 0 ]]; do
        case $1 in
            --dry-run) dry=true ;;
            --no-start) start=false ;;
            --linger) linger=true ;;
            --uninstall) uninstall=true ;;
            --profile | --extras | --wheels | --python)
                [[ $# -ge 2 && -n $2 ]] || die 2 "$1 needs a value; see --help."
                case $1 in
                    --profile) profile=$2 ;;
                    --extras) extras=$2 ;;
                    --wheels) wheels=$2 ;;
                    --python) python=$2 ;;
                esac
                shift
                ;;
            -h | --help)
                usage
                return
                ;;
            *) die 2 "unknown option $1; see --help." ;;
        esac
        shift
    done
    [[ $profile =~ ^[A-Za-z0-9._-]*$ ]] || die 2 "--profile $profile: use letters, digits, dots, dashes and underscores."
    [[ -z $wheels || -d $wheels ]] || die 2 "--wheels $wheels: there is no such folder."

    if $uninstall; then
        remove
        return
    fi
    check_machine
    install_packages
    configure
    install_files
    if $start; then
        start_service
        stay
        say "To check: $venv/bin/mhfd status; systemctl --user status mhfd-watch; journalctl --user -u mhfd-watch"
    else
        say "Not started. Later: systemctl --user daemon-reload; systemctl --user enable --now $unit"
    fi
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"

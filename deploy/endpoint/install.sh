#!/usr/bin/env bash
# Sets up a Globus Compute endpoint for mhfd on a DGX (or another Linux machine with systemd) as a service that starts
# at boot. Run it again after an update or a change: what is done already is kept.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: sudo deploy/endpoint/install.sh [options]

  --dry-run         print what would be done, do nothing
  --config NAME     folder of endpoint_configs to install [dgx-a100]
  --data DIR        folder where tiles lie and results may be written beside them; can be repeated. Without any,
                    tasks read no file by path (MHFD_ROOTS in user_environment.yaml)
  --extras LIST     extras of mhfd to install besides endpoint and globus [codecs,gpu12]
  --python PROGRAM  Python 3.10 to 3.14 [python3]
  --no-start        neither sign in, register functions nor start the service
  --root DIR        write the files below DIR instead of / and do nothing else (no account, packages, service)

Installs the virtual environment /opt/mhfd/venv, the account mhfd with its home /var/lib/mhfd, the endpoint folder
/var/lib/mhfd/.globus_compute/mhfd, /etc/mhfd/endpoint.env and the unit mhfd-endpoint.service.
TEXT
}

readonly name=mhfd
readonly venv=/opt/mhfd/venv
readonly home=/var/lib/mhfd
readonly folder=$home/.globus_compute/$name
readonly settings=/etc/mhfd/endpoint.env
readonly units=/etc/systemd/system
readonly unit=mhfd-endpoint.service

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
readonly here checkout

dry=false
start=true
root=
config=dgx-a100
extras=codecs,gpu12
python=python3
data=()

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

as_service() { # as_service COMMAND...: as the service's account, with its home and settings
    run runuser -u mhfd -- env -C "$home" HOME="$home" VIRTUAL_ENV="$venv" PATH="$venv/bin:/usr/bin:/bin" "$@"
}

whole() { [[ -z $root ]]; } # the whole machine, not only files below --root

same() { # same FILE FILE: except the list of allowed functions
    local list='/^# --- allowed functions: begin/,/^# --- allowed functions: end/d'
    cmp -s <(sed "$list" "$1") <(sed "$list" "$2")
}

put() { # put MODE SOURCE TARGET: install a file; a changed one is kept, the new one goes beside it
    local mode=$1 source=$2 target=$root$3
    if [[ ! -e $target ]]; then
        run install -D -m "$mode" "$source" "$target"
    elif same "$source" "$target"; then
        say "up to date: $target"
    else
        say "kept, since it was changed: $target (the new version: $target.new)"
        run install -m "$mode" "$source" "$target.new"
    fi
}

overwrite() { # overwrite SOURCE TARGET: install a file that users do not edit
    if cmp -s "$1" "$root$2"; then say "up to date: $root$2"; else run install -D -m 0644 "$1" "$root$2"; fi
}

check_machine() {
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null ||
        die 78 "$python is not Python 3.10 to 3.14. Name one with --python."
    whole || return 0
    $dry || [[ $EUID -eq 0 ]] || die 77 "This sets up a system service: run it with sudo, or see what it would do with --dry-run."
    $dry || [[ -d /run/systemd/system ]] || die 69 "systemd does not run here; see endpoint_configs/README.md for a start by hand."
    local gpus=0
    if command -v nvidia-smi >/dev/null; then gpus=$(nvidia-smi -L | grep -c '^GPU') || gpus=0; fi
    if [[ $config == dgx-a100 && $gpus -ne 8 ]]; then
        say "warning: nvidia-smi shows $gpus GPUs, the configuration dgx-a100 is for 8."
    fi
}

make_account() {
    if getent passwd mhfd >/dev/null; then
        say "up to date: account mhfd"
    else
        run useradd --system --user-group --home-dir "$home" --create-home --shell /usr/sbin/nologin mhfd
    fi
}

install_packages() {
    [[ -x $venv/bin/python ]] || run "$python" -m venv "$venv"
    run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${checkout}[endpoint,globus,$extras]"
}

install_files() {
    local source=$checkout/endpoint_configs/$config file
    for file in config.yaml user_config_template.yaml.j2 user_config_schema.json user_environment.yaml; do
        put 0644 "$source/$file" "$folder/$file"
    done
    [[ -e $root$settings ]] || put 0600 "$here/endpoint.env.example" "$settings"
    overwrite "$here/$unit" "$units/$unit"
    [[ ${#data[@]} -gt 0 ]] || return 0
    local drop_in
    drop_in=$(mktemp)
    { # quoted for systemd: a space separates paths, % starts a specifier
        printf '# Written by install.sh --data\n[Service]\n'
        printf 'ReadWritePaths="%s"\n' "${data[@]//%/%%}"
        local IFS=: # what tasks may read and write; user_environment.yaml overrides it
        printf 'Environment="MHFD_ROOTS=%s" "MHFD_OUT_ROOTS=%s"\n' "${data[*]//%/%%}" "${data[*]//%/%%}"
    } >"$drop_in"
    overwrite "$drop_in" "$units/$unit.d/data.conf"
    rm -f "$drop_in"
}

own_home() { run chown -R mhfd:mhfd "$home"; }

sign_in() {
    if grep -qsE '^GLOBUS_COMPUTE_CLIENT_ID=.' "$settings"; then
        say "up to date: the endpoint has its own identity ($settings)"
    elif $dry || ! as_service "$venv/bin/globus-compute-endpoint" whoami >/dev/null 2>&1; then
        as_service "$venv/bin/globus-compute-endpoint" login
    fi
}

allow_functions() { # allow_functions CONFIG <OUTPUT_OF_MHFD_REGISTER: put its block between the two lines of CONFIG
    local block
    block=$(awk '/^allowed_functions:/ {on = 1; print; next} on && /^[[:space:]]+- / {print; next} {on = 0}')
    grep -q '^[[:space:]]*- ' <<<"$block" || die 78 "mhfd register printed no allowed_functions; $1 is unchanged."
    [[ $(grep -cE '^# --- allowed functions: (begin|end)' "$1") -eq 2 ]] ||
        die 78 "$1 lacks the lines '# --- allowed functions: begin' and 'end'; put the block in by hand: $block"
    local new
    new=$(mktemp "$1.XXXXXX")
    BLOCK=$block awk '
        /^# --- allowed functions: begin/ {print; print ENVIRON["BLOCK"]; skip = 1}
        /^# --- allowed functions: end/ {skip = 0}
        !skip {print}' "$1" >"$new"
    chmod 0644 "$new"
    mv "$new" "$1" # in one step: never half a list
}

register_functions() {
    if $dry; then
        as_service "$venv/bin/mhfd" register
        say "would put its allowed_functions into $folder/config.yaml"
        return
    fi
    local printed
    if grep -qsE '^GLOBUS_COMPUTE_CLIENT_ID=.' "$settings"; then # the endpoint's identity registers them
        set -a
        # shellcheck source=/dev/null
        . "$settings"
        set +a
    fi
    printed=$(as_service "$venv/bin/mhfd" register)
    allow_functions "$folder/config.yaml" <<<"$printed"
    run chown mhfd:mhfd "$folder/config.yaml"
}

start_service() {
    run systemctl daemon-reload
    run systemctl enable "$unit"
    run systemctl restart "$unit" # also where it runs already: a new allow-list needs it
}

main() {
    while [[ $# -gt 0 ]]; do
        case $1 in
            --dry-run) dry=true ;;
            --no-start) start=false ;;
            --config | --data | --extras | --python | --root)
                [[ $# -ge 2 && -n $2 ]] || die 2 "$1 needs a value; see --help."
                case $1 in
                    --config) config=$2 ;;
                    --data) data+=("$2") ;;
                    --extras) extras=$2 ;;
                    --python) python=$2 ;;
                    --root) root=${2%/} ;;
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
    [[ $config =~ ^[a-z0-9-]+$ && -d $checkout/endpoint_configs/$config ]] ||
        die 2 "there is no endpoint_configs/$config; there are: $(cd "$checkout/endpoint_configs" && echo */ | tr -d /)"
    local dir
    for dir in ${data[@]+"${data[@]}"}; do
        [[ $dir == /* && $dir != *[\"\\:$'\n']* ]] || die 2 "--data $dir: an absolute path without quotes, backslashes and colons is needed."
    done

    check_machine
    if whole; then
        make_account
        install_packages
    fi
    install_files
    whole || return 0
    own_home
    if $start; then
        sign_in
        register_functions
        start_service
        say "Now test it: mhfd doctor --endpoint UUID; mhfd warmup --endpoint UUID. The UUID: $folder/endpoint.json"
    else
        say "Not started: run again without --no-start."
    fi
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"

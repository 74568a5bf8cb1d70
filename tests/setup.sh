#!/usr/bin/env bash
# Makes the environment the tests run in: `.venv` with Python packages, `.venv/node` with Node ones.
# Idempotent, and quick when there is nothing to do. What is optional and cannot be had is named
# in `.venv/missing` with the reason; the tests that need it are skipped under that name.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/.venv
awslambdaric=awslambdaric==4.2.2
node_client=aws-lambda-ric@3.3.0
sqs_consumer="sqs-consumer@12.0.0 @aws-sdk/client-sqs@3"
recipe=$(cat tests/requirements.txt tests/setup.sh | sha256sum | cut -c1-16)
stamp=$venv/made-from-$recipe
[ -e "$stamp" ] && exit 0

say() { printf 'setup: %s\n' "$*"; }
missing=()
lacks() { missing+=("$1: $2"); say "without $1: $2"; }

# apt PACKAGE...: installs where that is possible; the caller looks whether it helped.
apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    if [ -z "${apt_updated:-}" ]; then
        apt-get update -qq || return 1
        apt_updated=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}
# There may be an older aws in front of it, so ask each one.
aws_v2() {
    local place
    for place in $(type -ap aws); do
        "$place" --version 2>&1 | grep -q '^aws-cli/2' && return 0
    done
    return 1
}

command -v python3 >/dev/null || apt python3 || { say "python3 is needed"; exit 1; }
python3 -c 'import ensurepip' 2>/dev/null || apt python3-venv || {
    say "python3 -m venv is needed (Debian: python3-venv)"
    exit 1
}
mkdir -p "$venv"
rm -f "$venv"/made-from-*
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
say "Python packages"
"$venv/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt

# The last release that speaks to SQS in the query protocol, as older SDKs in the field do.
[ -d "$venv/older-botocore" ] ||
    "$venv/bin/pip" install -q --disable-pip-version-check --no-deps \
        --target "$venv/older-botocore" botocore==1.31.80 >"$venv/pip.log" 2>&1 ||
    lacks older-botocore "pip could not install it: $(tail -n 1 "$venv/pip.log")"

# Records what a server writes and syncs (campaign c2).
command -v strace >/dev/null || apt strace || lacks strace "not installed, and apt-get did not help"

# The official runtime clients, as their authors ship them.
"$venv/bin/pip" install -q --disable-pip-version-check "$awslambdaric" >"$venv/pip.log" 2>&1 ||
    lacks awslambdaric "pip could not install it: $(tail -n 1 "$venv/pip.log")"

# Version 2 of the aws cli is not on PyPI; only it has `aws logs tail`.
aws_v2 || { apt awscli && aws_v2; } || lacks aws-cli-2 "not installed, and apt-get did not help"

command -v ip >/dev/null || apt iproute2 || lacks iproute2 "no ip command, and apt-get did not help"

# Container images are pulled from a registry as others run it.
command -v docker-registry >/dev/null || apt docker-registry ||
    lacks docker-registry "not installed, and apt-get did not help"
command -v openssl >/dev/null || apt openssl || lacks openssl "not installed, and apt-get did not help"

# AWS's adapter for web applications, as its authors ship its source.
adapter=lambda_web_adapter@1.0.0-rc1
if [ ! -x "$venv/adapter/bin/lambda-adapter" ]; then
    say "AWS's web adapter"
    cargo install -q --locked "$adapter" --root "$venv/adapter" --target-dir "$venv/adapter/target" \
        --config 'profile.release.strip=true' --config 'profile.release.lto=false' \
        >"$venv/adapter.log" 2>&1 ||
        lacks web-adapter "cargo could not install it: $(tail -n 1 "$venv/adapter.log")"
    rm -rf "$venv/adapter/target"
fi

# AWS's client for Java, for the functions of tests.
java_client="com.amazonaws:aws-lambda-java-runtime-interface-client:2.9.0 com.amazonaws:aws-lambda-java-core:1.4.0
    com.amazonaws:aws-lambda-java-serialization:1.2.0 software.amazon.awssdk:utils-lite:2.34.0"
if ! command -v javac >/dev/null; then
    lacks java "no JDK (Debian: default-jdk-headless)"
elif ! command -v mvn >/dev/null; then
    lacks java "no Maven to get AWS's client with (Debian: maven)"
else
    say "AWS's client for Java"
    for jar in $java_client; do
        mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy -Dmdep.useBaseVersion=true \
            -Dartifact="$jar" -DoutputDirectory="$venv/java" >"$venv/mvn.log" 2>&1 ||
            { lacks java "Maven could not get $jar; see .venv/mvn.log"; break; }
    done
fi

# Ruby of the system, and AWS's client for it as its authors ship it.
[ -x /usr/bin/ruby ] || apt ruby || true
if [ ! -x /usr/bin/ruby ]; then
    lacks ruby "not installed, and apt-get did not help"
elif ! compgen -G "$venv/ruby/gems/aws_lambda_ric-*" >/dev/null; then
    gem install --silent --no-document --install-dir "$venv/ruby" aws_lambda_ric:3.1.3 >"$venv/gem.log" 2>&1 ||
        lacks aws_lambda_ric "gem could not install it: $(tail -n 1 "$venv/gem.log")"
fi

if ! { command -v node && command -v npm; } >/dev/null; then
    apt nodejs npm || true
fi
if ! command -v node >/dev/null; then
    lacks node "not installed, and apt-get did not help"
elif ! command -v npm >/dev/null; then
    lacks aws-lambda-ric "npm is not installed"
else
    # Its native part is compiled on installation.
    for tool in cmake make g++ autoreconf libtoolize; do
        command -v "$tool" >/dev/null || { apt cmake make g++ autoconf automake libtool || true; break; }
    done
    mkdir -p "$venv/node"
    say "Node packages; a native part is compiled, which takes a minute"
    # shellcheck disable=SC2086
    npm install --silent --no-audit --no-fund --prefix "$venv/node-sqs" $sqs_consumer \
        >"$venv/npm.log" 2>&1 </dev/null || lacks sqs-consumer "npm could not install it"
    if npm install --silent --no-audit --no-fund --prefix "$venv/node" "$node_client" \
        >"$venv/npm.log" 2>&1 </dev/null &&
        [ -e "$venv/node/node_modules/aws-lambda-ric/dist/rapid-client.node" ]; then
        # The sources of libcurl are 150 MB that nobody reads again.
        rm -rf "$venv/node/node_modules/aws-lambda-ric/deps"
    else
        lacks aws-lambda-ric "npm could not build it; see .venv/npm.log"
    fi
fi

if [ ${#missing[@]} -gt 0 ]; then printf '%s\n' "${missing[@]}"; fi >"$venv/missing"
touch "$stamp"
say "done"

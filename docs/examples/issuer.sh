#!/usr/bin/env bash
# Uses a running mock issuer with curl: token, device flow, key rotation.
set -euo pipefail
issuer=${ISSUER:-http://127.0.0.1:9000}

get() { curl --silent --show-error --fail "$@"; }
control() { get "$issuer/_mock/$1" --header 'Content-Type: application/json' --data "$2"; }
member() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

# Wait until it serves.
curl --silent --fail "$issuer/readyz" --retry 60 --retry-delay 1 --retry-connrefused --output /dev/null

# Mint a token, and send it to your API:  curl --header "Authorization: Bearer $token" …
token=$(control token '{"scope": "read:devices", "sub": "mock|alice", "expires_in": 60}' | member access_token)
echo "token of ${#token} characters"

# Script: bob approves every device request after one poll.
control script '{"after_polls": 1, "outcome": "approve", "user": "bob"}' >/dev/null
device_code=$(get "$issuer/oauth/device/code" --data client_id=device-app \
  --data audience=https://device-api.example --data scope=read:devices | member device_code)
poll() {
  # Without --fail: the error is in the body.
  curl --silent --show-error "$issuer/oauth/token" --data client_id=device-app \
    --data grant_type=urn:ietf:params:oauth:grant-type:device_code --data "device_code=$device_code"
}
echo "first poll: $(poll | member error)"
control advance_clock '{"seconds": 5}' >/dev/null # in place of a wait for the interval
echo "second poll: $(poll | member token_type)"

# Rotate the keys: new tokens have the new key id, and the older key is published until you withdraw it.
kid=$(control rotate_keys '{}' | member kid)
get "$issuer/.well-known/jwks.json" | grep --count --fixed-strings --regexp="$kid"
control withdraw_key '{}' >/dev/null

# Start the next test from the initial state.
control reset '{}' >/dev/null

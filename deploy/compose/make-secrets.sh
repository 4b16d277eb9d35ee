#!/bin/sh
# Make what the stack needs to start, in the folder `secrets` beside this file: an authority with certificates for
# development, a password for each team, one for the administrator of Grafana, and the key of pseudonyms.
#
#     sh make-secrets.sh [DNS-NAME...]     names beside the services' own, under which services or browsers come
#
# Run it again at any time. Passwords and keys that are there stay. A certificate is made anew when it ends within 30
# days, or when its names are others than those that you give; without an argument it keeps its names. What was made is
# said. A team is a file in ../grafana/datasources. Needs openssl.
set -eu
umask 077
cd "$(dirname "$0")"
names=$*
mkdir -p secrets/authority
cd secrets

# Containers run as users of their own, so what is mounted is readable to all. The folder around it is ours alone.
publish() { chmod 0644 "$@"; }
open_folder() { mkdir -p "$1" && chmod 0755 "$1"; }

# lasts FILE DAYS: whether a certificate is there, and good for so many days more.
lasts() { [ -e "$1" ] && openssl x509 -in "$1" -noout -checkend $(($2 * 86400)) >/dev/null; }

[ -s authority/tls.key ] || openssl ecparam -name prime256v1 -genkey -noout -out authority/tls.key
# Ten years. A year before the end it gets a new certificate for the same key: what it has signed stays good with both.
if ! lasts authority/tls.crt 366; then
  # From a file of its own: what openssl's default adds differs from one system to the next.
  cat > authority/request.cnf <<'END'
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = tracemw development
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
END
  openssl req -x509 -new -key authority/tls.key -days 3650 -config authority/request.cnf -out authority/tls.crt
  rm authority/request.cnf
  echo "Authority: new certificate, for 10 years. Hand trust/ca.crt to every service that sends, before anything else."
fi

# names_of FILE: the names of a certificate, as openssl prints them, without spaces.
names_of() { openssl x509 -in "$1" -noout -text | grep -A 1 'Subject Alternative Name' | tail -n 1 | tr -d ' '; }

# certify NAME USAGE: a certificate that is good for a year, for one service.
certify() {
  open_folder "$1"
  own="DNS:$1,DNS:$1.observability.svc,DNS:localhost,IP:127.0.0.1"
  alternatives=$own
  for name in $names; do alternatives="$alternatives,DNS:$name"; done
  why=
  if [ ! -e "$1/tls.crt" ]; then
    why="there was none."
  else
    former=$(names_of "$1/tls.crt" | sed 's/IPAddress:/IP:/g')
    [ -n "$names" ] || alternatives=$former
    if [ "$alternatives" != "$former" ]; then
      why="its names were $former. Restart $1."
    elif ! lasts "$1/tls.crt" 30; then
      why="it would have ended within 30 days. Restart $1."
    elif ! openssl verify -CAfile authority/tls.crt "$1/tls.crt" >/dev/null 2>&1; then
      why="another authority had signed it. Restart $1."
    fi
  fi
  cp authority/tls.crt "$1/ca.crt"
  publish "$1/ca.crt"
  [ -n "$why" ] || return 0
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
    -keyout "$1/new.key" -out "$1/request.pem" 2>/dev/null
  cat > "$1/extensions" <<END
subjectAltName = $alternatives
extendedKeyUsage = $2
keyUsage = critical,digitalSignature
basicConstraints = critical,CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
  openssl x509 -req -in "$1/request.pem" -CA authority/tls.crt -CAkey authority/tls.key -CAcreateserial -days 365 \
    -extfile "$1/extensions" -out "$1/new.crt" 2>/dev/null
  rm "$1/request.pem" "$1/extensions"
  publish "$1/new.key" "$1/new.crt"
  mv "$1/new.key" "$1/tls.key"
  mv "$1/new.crt" "$1/tls.crt"
  echo "Certificate of $1: new, for a year, since $why"
}
certify collector serverAuth,clientAuth # the only one that Tempo takes spans from
certify tempo serverAuth
certify loki serverAuth
certify grafana serverAuth
open_folder trust
cp authority/tls.crt trust/ca.crt
publish trust/ca.crt

password() { openssl rand -hex 24; }  # an empty file is what a run has left that was ended

open_folder grafana-passwords
open_folder collector-teams
mkdir -p teams
for name in admin-password secret-key; do
  [ -s "grafana-passwords/$name" ] || password | tr -d '\n' > "grafana-passwords/$name"
  publish "grafana-passwords/$name"
done

# Where Alertmanager sends: an address a file.
open_folder alertmanager-receivers
for name in pages-url tickets-url; do
  [ -e "alertmanager-receivers/$name" ] || : > "alertmanager-receivers/$name"
  publish "alertmanager-receivers/$name"
  [ -s "alertmanager-receivers/$name" ] || echo "NOBODY IS TOLD of alerts: put an address into $(pwd)/alertmanager-receivers/$name."
done

# Services make pseudonyms of users with this key, and `tracemw forget` finds the users' traces with it.
if [ ! -s pseudonyms.env ]; then
  printf 'TRACEMW_PSEUDONYM_KEY=%s:%s\n' "$(date -u +%Y)a" "$(openssl rand -base64 32)" > pseudonyms.env
  echo "Key of pseudonyms: new, in $(pwd)/pseudonyms.env. Keep a copy where you keep passwords: nothing replaces it."
fi

: > collector-teams/teams.htpasswd
for file in ../../grafana/datasources/*.yaml; do
  team=$(basename "$file" .yaml)
  [ "$team" = operators ] && continue
  [ -s "teams/$team" ] || password > "teams/$team"
  printf '%s:%s\n' "$team" "$(openssl passwd -apr1 -stdin < "teams/$team")" >> collector-teams/teams.htpasswd
  # What services of the team start with.
  printf 'OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic%%20%s\n' \
    "$(printf '%s:%s' "$team" "$(cat "teams/$team")" | openssl base64 -A)" > "teams/$team.env"
done
publish collector-teams/teams.htpasswd
echo "Passwords are in $(pwd): grafana-passwords/admin-password for the user admin, teams/*.env for services."

# The work of clients.py with Perl's Mail::IMAPClient.
use strict;
use warnings;
use JSON::PP;
use Mail::IMAPClient;

$| = 1;
my $given = decode_json($ENV{TASK});
my ($box, $other, $third) = @$given{qw(box other third)};

sub say_step { my ($step, %facts) = @_; print JSON::PP->new->canonical->encode({step => $step, %facts}), "\n" }

my $client = Mail::IMAPClient->new(
    Server => $given->{host}, Port => $given->{port}, User => $given->{user}, Password => $given->{password},
    Ssl => [SSL_ca_file => $given->{authority}, SSL_verify_mode => 1, SSL_verifycn_name => "localhost"],
    Uid => 1, Timeout => 30,
) or die "login: $@";
sub ok { my ($value, $what) = @_; die "$what: " . ($client->LastError // "?") unless defined $value; return $value }

ok($client->create($_), "create $_") for $box, $other;
ok($client->subscribe($box), "subscribe");
for my $number (1 .. 3) {
    my $text = $given->{message};
    $text =~ s/\{number\}/$number/g;
    ok($client->append_string($box, $text, $number == 1 ? '$Kept' : undef, "0$number-Feb-2020 10:00:00 +0000"), "append");
}
say_step("ready", listed => scalar $client->folders, subscribed => scalar $client->subscribed);
ok($client->select($box), "select");
my $idle = ok($client->idle, "idle");
say_step("idling");
my $exists = 0;
until ($exists) {
    my @heard = $client->idle_data(20) or die "nothing heard";
    for (@heard) { $exists = $1 if /^\* (\d+) EXISTS/ }
}
ok($client->done($idle), "done");
say_step("heard", exists => $exists + 0);
ok($client->store(1, '+FLAGS', '(\Seen \Flagged)'), "store");
ok($client->store(2, '+FLAGS', '($Label1)'), "store");
ok($client->move($other, 2), "move");
ok($client->expunge, "expunge");
ok($client->copy($other, 1), "copy");
ok($client->delete_message(3), "delete");
ok($client->expunge, "expunge");
ok($client->rename($other, $third), "rename");
my @found = $client->search('SUBJECT "number" FLAGGED');
my $date = $client->internaldate(1);
say_step("done", search => [map { $_ + 0 } @found], subject => $client->subject(1), text => $client->body_string(1),
    day => ($date =~ /^\s*(\d+)/)[0] + 0);
$client->logout;

# The session of tests/clients/README.md with Perl's Redis: REDIS_PORT=6379 perl session.pl
#
# A method's name becomes the command's; a dot cannot stand in a name, so commands of modules are given as text.
use strict;
use warnings;
use Redis;
use Test::More;

my $answer = "A sequence of elements.";
my @ask = ("response", "ann", "helper", "What is a list?");
my $redis = Redis->new(server => "127.0.0.1:$ENV{REDIS_PORT}");

sub chatcache {
    my $command = "CHATCACHE." . shift;
    return $redis->$command(@_);
}

# Nothing (undef), then an answer.
is(chatcache("GET", @ask), undef, "nothing yet");
is(chatcache("SET", @ask, $answer, "EX", 60), "OK");
is(chatcache("SET", @ask, "another", "NX"), undef, "there is one");
is(chatcache("GET", "any", @ask[1 .. 3]), $answer);
my $key = chatcache("KEY", @ask);
is($key, "response:ann:helper:8e9f78b31da43444756e562246131283");

# Maps: a list reply is a reference in scalar context and a list in list context, which fills a hash.
my %inspected = chatcache("INSPECT", @ask);
is($inspected{key}, $key);
is($inspected{"raw-bytes"}, length $answer);
is(scalar chatcache("INSPECT", "msg", "ann", "helper", "?"), undef);
my %stats = chatcache("STATS", "helper");
is($stats{entries}, 1);
my ($cursor, $personas) = chatcache("PERSONAS", "COUNT", 10);
my %persona = @{ $personas->[0] };
is("$cursor $persona{name}", "0 helper");

# Single flight: a lease, who else asks is told busy, the answer with its token, and then hits.
my @question = ("persona", "ann", "helper", "What is 6 * 7?");
my ($kind, undef, $token, $ms) = chatcache("FETCH", @question, "LEASE", 5000);
is("$kind $ms", "lease 5000");
is((chatcache("FETCH", @question))[0], "busy");
is(chatcache("RELEASE", @question, "TOKEN", $token), 1);
is(chatcache("SET", @question, "41", "TOKEN", $token), undef, "that lease is over");
($kind, undef, $token) = chatcache("FETCH", @question);
is(chatcache("SET", @question, "42", "TOKEN", $token), "OK");
is_deeply([(chatcache("FETCH", @question))[0 .. 2]], ["hit", "42", undef]);
is(chatcache("SOFTINVALIDATE", "helper"), 2);
($kind, my $stale, $token) = chatcache("FETCH", @question);
ok($kind eq "stale" && $stale eq "42" && $token, "stale, and ours to refresh");
is_deeply([(chatcache("FETCH", @question))[0 .. 2]], ["stale", "42", undef]);

# An error reply dies.
eval { chatcache("GET", "nowhere", "ann", "helper", "hello") };
like($@, qr/msg, persona, session/);

# A pipeline: commands with a callback, then wait for all.
my @replies;
my $keep = sub { my ($reply, $error) = @_; push @replies, $error // $reply };
chatcache("SET", "msg", "bob", "poet", "Hi", "Hello", $keep);
chatcache("SET", "session", "bob", "poet", "Hi", "Hel\0\r\n\xff", $keep);
chatcache("GET", "any", "bob", "poet", "Hi", $keep);
$redis->wait_all_responses;
is_deeply(\@replies, ["OK", "OK", "Hel\0\r\n\xff"]);

# Dropping answers.
is(chatcache("DEL", "msg", "bob", "poet", "Hi"), 1);
is(chatcache("FORGET", "bob"), 1);
is(chatcache("INVALIDATE", "helper", "poet"), 2);
is(chatcache("GET", "any", @ask[1 .. 3]), undef);
is(chatcache("FLUSH"), 0);
like((chatcache("HELP"))[0], qr/^CHATCACHE/);

done_testing();

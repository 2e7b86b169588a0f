#!/usr/bin/env bash
# feelin 8.2.0 and feel-engine 1.21.0: the same FEEL condition takes the other branch in the browser than in the engine.
#
# Guess: both evaluate FEEL, the expression language of DMN, so a condition that holds in a form (feelin, JavaScript) holds
#   in the process (feel-engine, Scala). Numbers are decimals of 34 digits (DMN, 10.3.2.3.1), a condition that is no
#   boolean is not true, and a duration may be divided by a number.
# Their documentation: each calls itself an implementation of FEEL; feelin says that it passes not all conformance tests.
# What they do: feelin has binary floating point, takes 1 for true as JavaScript does, gives null for arithmetic on
#   durations, and days where years and months were asked for. feel-engine follows the standard in all four.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need java mvn
from_npm feelin@8.2.0
cat >pom.xml <<'END'
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.camunda.feel</groupId><artifactId>feel-engine</artifactId><version>1.21.0</version></dependency>
  </dependencies>
</project>
END
installed mvn -q -B -Dmaven.repo.local="$work/m2" dependency:build-classpath -Dmdep.outputFile=classpath

cat >expressions <<'END'
if 0.1 + 0.2 = 0.3 then "pay" else "ask"
if 1 then "pay" else "ask"
duration("PT1H") / 2 < duration("PT45M")
string(years and months duration(date("2024-01-31"), date("2024-02-29")))
END
cat >feelin.js <<'END'
import { readFileSync } from 'node:fs';
import { evaluate } from 'feelin';

for (const expression of readFileSync('expressions', 'utf8').trim().split('\n')) {
  console.log(String(evaluate(expression, {}).value));
}
END
cat >Engine.java <<'END'
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.camunda.feel.api.FeelEngineBuilder;

public class Engine {
    public static void main(String[] words) throws Exception {
        var engine = FeelEngineBuilder.forJava().build();
        for (var expression : Files.readAllLines(Path.of("expressions"))) {
            System.out.println(engine.evaluateExpression(expression, Map.of()).result());
        }
    }
}
END
both() {
    node feelin.js >by-feelin
    java -cp "$(cat classpath)" Engine.java >by-engine
    while IFS= read -r expression && read -r one <&3 && read -r other <&4; do
        printf '%s\n    feelin:      %s\n    feel-engine: %s\n' "$expression" "$one" "$other"
    done <expressions 3<by-feelin 4<by-engine
}
observe both
expect <<'END'
if 0.1 + 0.2 = 0.3 then "pay" else "ask"
    feelin:      ask
    feel-engine: pay
if 1 then "pay" else "ask"
    feelin:      pay
    feel-engine: ask
duration("PT1H") / 2 < duration("PT45M")
    feelin:      null
    feel-engine: true
string(years and months duration(date("2024-01-31"), date("2024-02-29")))
    feelin:      P29D
    feel-engine: P0Y
END

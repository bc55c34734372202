import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Tools runs the main classes of stock tools one after the other in one process. Each line of standard input is a class and its
 * arguments, separated by tabs; the answer is what the tool printed and a line "exit" with its status.
 */
public class Tools {
    /** Ended is what a tool's exit becomes. */
    static final class Ended extends Error {
        final int status;

        Ended(int status) {
            this.status = status;
        }
    }

    private static Integer ended; // the status with which the tool that runs has exited

    public static void main(String[] args) throws Exception {
        Exit.setExitProcedure((status, message) -> {
            if (ended == null) { // a tool may take this for a failure of its own and exit once more
                ended = status;
                System.setOut(new PrintStream(PrintStream.nullOutputStream()));
                System.setErr(System.out);
            }
            throw new Ended(ended);
        });
        PrintStream answers = System.out;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null;) {
            String[] words = line.split("\t", -1);
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            PrintStream both = new PrintStream(printed, true, StandardCharsets.UTF_8);
            System.setOut(both);
            System.setErr(both);
            int status = run(words[0], Arrays.copyOfRange(words, 1, words.length));
            both.flush();
            answers.print(printed.toString(StandardCharsets.UTF_8));
            answers.println();
            answers.println("exit " + status);
            answers.flush();
        }
    }

    static int run(String name, String[] args) throws Exception {
        ended = null;
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) args);
            return 0;
        } catch (InvocationTargetException e) {
            Throwable cause = e.getCause();
            if (cause instanceof Ended) {
                return ((Ended) cause).status;
            }
            cause.printStackTrace();
            return 1;
        }
    }
}

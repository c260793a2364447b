/** Starts the application. */
import './styles/base.css';
import { applyStoredTheme } from './app/theme.ts';
import './app/claw-app.ts';

applyStoredTheme();
